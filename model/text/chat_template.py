"""Rendering conversations with the model's own chat template. The text is exactly that of transformers.

Templates come with a model and are not trusted. They run in a helper process with limits
(`jobs.templates.template_server`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import ModelUnusable
from jobs.templates.template_process import RenderFailed, TemplateDamaged, TemplateProcess
from model.checkpoint.checkpoint_files import read_json_object
from model.text.messages import Message, MessagesInvalid

BATCH_BYTES = 4 << 20  # size from which collected conversations are sent to the helper together
_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Conversation:
    """The input of a template."""

    messages: Sequence[Message]  # as returned by `model.text.messages.checked_messages`
    tools: Sequence[Mapping[str, Any]] | None  # JSON schemas of the functions that the model may call
    variables: Mapping[str, Any]  # all other variables: `add_generation_prompt`, `enable_thinking`, …


class ChatTemplate:
    """One model's templates: the default one, and possibly another one for conversations with tools."""

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        """Compile the templates in a helper process.

        Args:
            sources: Template texts by name. `default` is required, `tool_use` is optional.
            special_tokens: Variables such as `eos_token` that every template can use.

        Raises:
            TemplateDamaged: A template does not compile.
        """
        self._names = frozenset(sources)
        self._process = TemplateProcess(sources)
        self._defaults = {"documents": None, **special_tokens}

    @classmethod
    def from_folder(cls, folder: Path) -> ChatTemplate | None:
        """Read the template from `chat_template.jinja`, or else from `tokenizer_config.json`.

        Returns:
            The template, or None if neither file has one.

        Raises:
            ModelUnusable: A file or its template is damaged.
        """
        config_path = folder / "tokenizer_config.json"
        config = read_json_object(config_path) if config_path.exists() else {}
        sources = _sources(folder, config)
        if not sources:
            return None
        try:
            return cls(sources, _special_tokens(config))
        except TemplateDamaged as error:
            raise ModelUnusable(
                f"The chat template in {folder} is damaged: {error}.", "Download the model again."
            ) from error

    def render(self, conversations: Iterable[Conversation | MessagesInvalid]) -> Iterator[str | MessagesInvalid]:
        """Render each conversation, in order. A failure yields an error instead of a prompt's text.

        Errors in the input are yielded unchanged. Conversations are taken from the iterable a few MB at a time.
        """
        batch: list[bytes | MessagesInvalid] = []
        size = 0
        for conversation in conversations:
            request = self._request(conversation) if isinstance(conversation, Conversation) else conversation
            batch.append(request)
            size += len(request) if isinstance(request, bytes) else 0
            if size >= BATCH_BYTES:
                yield from self._render(batch)
                batch, size = [], 0
        yield from self._render(batch)

    def _render(self, batch: Sequence[bytes | MessagesInvalid]) -> Iterator[str | MessagesInvalid]:
        answers = iter(self._process.render([request for request in batch if isinstance(request, bytes)]))
        for request in batch:
            answer = request if isinstance(request, MessagesInvalid) else next(answers)
            yield _refused(str(answer)) if isinstance(answer, RenderFailed) else answer

    def _request(self, conversation: Conversation) -> bytes | MessagesInvalid:
        tools = conversation.tools
        name = "tool_use" if tools is not None and "tool_use" in self._names else "default"
        variables = {
            **self._defaults,
            **conversation.variables,
            "messages": conversation.messages,
            "tools": tools,
        }
        try:
            return json.dumps([name, variables], ensure_ascii=False).encode()
        except ValueError as error:  # an integer with more digits than Python converts to text
            return _refused(str(error))


def _refused(reason: str) -> MessagesInvalid:
    return MessagesInvalid(f"the model's chat template cannot render these messages: {reason.rstrip('.'):.500}")


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
    """Return the special tokens in the config. An entry is a text, or an object with `content`."""
    tokens = {}
    for name in _TOKEN_NAMES:
        token = config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            tokens[name] = content
    return tokens
