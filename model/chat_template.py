"""Rendering a conversation with the model's own template, character for character as transformers does.

Templates come with a model, so they run in jinja2's immutable sandbox and their output is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.errors import ModelUnusable
from model.json_file import read_json_object
from model.messages import Message, MessagesInvalid

MAX_RENDERED_CHARS = 16_000_000  # far beyond any context
MAX_VALUE_SIZE = 1_000_000  # of a value that a template builds with `*`
_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# What a template can raise on messages that it does not expect: its own errors, and those of the operations in it.
_RENDER_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)


class ChatTemplate:
    """One model's templates: the default one, and where the model has it, one for conversations with tools."""

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        """Args:
            sources: Template text by name; `default` must be there, `tool_use` may be.
            special_tokens: Variables such as `eos_token` that every template sees.

        Raises:
            jinja2.TemplateSyntaxError: A template is not one.
        """
        environment = _environment()
        self._templates = {name: environment.from_string(source) for name, source in sources.items()}
        self._special_tokens = dict(special_tokens)

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTemplate | None:
        """The template of `chat_template.jinja`, or else of `tokenizer_config.json`; None where there is neither.

        Raises:
            ModelUnusable: A file is damaged, or the template in it is.
        """
        config_path = folder / "tokenizer_config.json"
        config = read_json_object(config_path) if config_path.exists() else {}
        sources = _sources(folder, config)
        if not sources:
            return None
        try:
            return cls(sources, _special_tokens(config))
        except jinja2.TemplateSyntaxError as error:
            raise ModelUnusable(
                f"The chat template in {folder} is damaged: {error.message} (line {error.lineno}).",
                "Download the model again.",
            ) from error

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None, variables: Mapping[str, Any]
    ) -> str:
        """The prompt's text.

        Args:
            messages: As `model.messages.checked_messages` returns them.
            tools: JSON schemas of the functions on offer.
            variables: What else the template sees: `add_generation_prompt`, `enable_thinking`, …

        Raises:
            MessagesInvalid: The template refuses the messages or fails on them, or its output exceeds
                `MAX_RENDERED_CHARS`.
        """
        name = "tool_use" if tools is not None and "tool_use" in self._templates else "default"
        defaults: dict[str, Any] = {"documents": None, **self._special_tokens}
        try:
            chunks = self._templates[name].generate({**defaults, **variables, "messages": messages, "tools": tools})
            return _bounded(chunks)
        except _RENDER_ERRORS as error:
            reason = str(error) or type(error).__name__
            raise MessagesInvalid(f"the model's chat template cannot render these messages: {reason:.500}") from error


def _bounded(chunks: Iterable[str]) -> str:
    taken, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_RENDERED_CHARS:
            raise SecurityError(f"its output is longer than {MAX_RENDERED_CHARS:,} characters")
        taken.append(chunk)
    return "".join(taken)


def _sources(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return {"default": file.read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            raise ModelUnusable(f"{file} cannot be read: {error}.", "Download the model again.") from error
    match config.get("chat_template"):
        case None:
            return {}
        case str(source):
            return {"default": source}
        case [*named] if all(isinstance(each, dict) for each in named):
            sources = {each.get("name"): each.get("template") for each in named}
            if "default" in sources and all(isinstance(text, str) for pair in sources.items() for text in pair):
                return {str(name): str(source) for name, source in sources.items()}
    raise ModelUnusable(
        f"The chat_template in {folder / 'tokenizer_config.json'} is neither text nor a list of named templates with a"
        " `default`.",
        "Download the model again.",
    )


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that the config names, which is as text or as an object with `content`."""
    tokens = {}
    for name in _TOKEN_NAMES:
        token = config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            tokens[name] = content
    return tokens


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, in which `*` and `**` cannot build huge values (`range` it bounds itself)."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "**":
            raise SecurityError("a chat template may not use **")
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int) and len(value) * times > MAX_VALUE_SIZE:
                raise SecurityError(f"repeating a value {times!r:.40} times is too much for a chat template")
        return super().call_binop(context, operator, left, right)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what a model wrote, for training; here it renders what it holds."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment() -> _Environment:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
