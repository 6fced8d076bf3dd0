"""Find the tool calls in a completion. What is not a whole call stays in the text: nothing is lost or repaired."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import msgspec

from jobs.constraints.parameter_types import is_text, types_of
from model.text.tokenizer import Tokenizer

ToolFormat = Literal["hermes", "xml"]
_START, _END = "<tool_call>", "</tool_call>"
_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*)</function>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
# How the template writes values of earlier calls: in Python's spelling. So models may write them in this way, too.
_PYTHONS_SPELLING = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True)
class ParsedCall:
    """A call of a function."""

    name: str
    arguments: str  # a JSON object; in the Hermes format it is the model's own text


@dataclass(frozen=True)
class ParsedAnswer:
    """An answer, taken apart."""

    content: str  # the text outside the calls
    calls: tuple[ParsedCall, ...]
    num_malformed: int  # calls that are not whole; they are in the content


class _HermesCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: msgspec.Raw


_decode_hermes = msgspec.json.Decoder(_HermesCall).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class ToolCallParser:
    """Finds tool calls by the ids of their tags, so that a tag in ordinary text is no call.

    Args:
        tokenizer: The model's tokenizer.
        start_id: The id of `<tool_call>`.
        end_id: The id of `</tool_call>`.
        format: How a call is written: as JSON (Hermes), or in the XML of Qwen3-Coder.
    """

    tokenizer: Tokenizer
    start_id: int
    end_id: int
    format: ToolFormat

    @classmethod
    def of(cls, tokenizer: Tokenizer, format: ToolFormat | None) -> Self | None:
        """Return a parser, or None if the model cannot call tools."""
        start_id, end_id = tokenizer.token_id(_START), tokenizer.token_id(_END)
        if format is None or start_id is None or end_id is None:
            return None
        return cls(tokenizer, start_id, end_id, format)

    def parse(
        self, token_ids: Sequence[int], text: str, tools: Sequence[Mapping[str, Any]], skip_special_tokens: bool = True
    ) -> ParsedAnswer:
        """Take an answer apart.

        Args:
            token_ids: The tokens of the answer, after the thought.
            text: The answer's text. It may lack newlines at the beginning, and may end before the last token.
            tools: The tools that the line gives to the model, in the shape of the OpenAI API.
            skip_special_tokens: False if the text shows special tokens.
        """
        content, calls, malformed, kept_to = "", [], 0, 0
        for start, end in self._spans(token_ids, text, skip_special_tokens):
            body = text[start + len(_START) : end - len(_END)]
            call = self._call(body, tools) if text.startswith(_END, end - len(_END)) else None
            if call is None:
                malformed += 1
                continue
            content += text[kept_to:start].removesuffix("\n")
            calls.append(call)
            kept_to = end
        rest = text[kept_to:]
        content += rest if rest.strip() or not calls else ""
        return ParsedAnswer(content if content.strip() or not calls else "", tuple(calls), malformed)

    def _spans(self, token_ids: Sequence[int], text: str, skip_special_tokens: bool) -> list[tuple[int, int]]:
        """Return the places of calls in the text, from the beginning of the start tag to the end of the end tag.

        A call without an end tag ends beyond the text.
        """
        spans: list[tuple[int, int]] = []
        begun: int | None = None
        for place, token_id in enumerate(token_ids):
            if token_id == self.start_id:
                if begun is not None:
                    spans.append((begun, place))
                begun = place
            elif token_id == self.end_id and begun is not None:
                spans.append((begun, place + 1))
                begun = None
        if begun is not None:
            spans.append((begun, len(token_ids)))
        if not spans:
            return []
        whole = self.tokenizer.decode(token_ids, skip_special_tokens)
        shift = 0 if whole.startswith(text) else len(whole) - len(whole.lstrip("\n"))

        def offset(place: int) -> int:
            return len(self.tokenizer.decode(token_ids[:place], skip_special_tokens)) - shift

        places = [(offset(start), offset(end)) for start, end in spans]
        return [(start, end) for start, end in places if start < len(text)]

    def _call(self, body: str, tools: Sequence[Mapping[str, Any]]) -> ParsedCall | None:
        return _hermes_call(body) if self.format == "hermes" else _xml_call(body, tools)


def _hermes_call(body: str) -> ParsedCall | None:
    try:
        call = _decode_hermes(body.strip())
        _decode_object(call.arguments)
    except (ValueError, RecursionError):
        return None
    return ParsedCall(call.name, bytes(call.arguments).decode()) if call.name else None


def _xml_call(body: str, tools: Sequence[Mapping[str, Any]]) -> ParsedCall | None:
    found = _FUNCTION.fullmatch(body.strip())
    if found is None or _PARAMETER.sub("", found[2]).strip():
        return None
    types = _parameter_types(found[1], tools)
    try:
        arguments = {
            name: _converted(value, types.get(name, frozenset())) for name, value in _PARAMETER.findall(found[2])
        }
        return ParsedCall(found[1], json.dumps(arguments, ensure_ascii=False))
    except (ValueError, RecursionError):
        return None


def _parameter_types(name: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Return the JSON types of a function's parameters, from its schema."""
    for tool in tools:
        function = tool.get("function") or {}
        if function.get("name") == name:
            schema = function.get("parameters") or {}
            properties = schema.get("properties")
            return (
                {key: types_of(each, schema) for key, each in properties.items()}
                if isinstance(properties, dict)
                else {}
            )
    return {}


def _converted(text: str, types: frozenset[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a parameter. Raises `ValueError` if the text has none of the types."""
    if "null" in types and text.strip() == "null":
        return None
    if is_text(types):
        return text
    value = msgspec.json.decode(_PYTHONS_SPELLING.get(text.strip(), text))
    kinds = [kind for name, kind in _JSON_TYPES.items() if name in types]
    is_right = any(isinstance(value, kind) and (kind is bool) == isinstance(value, bool) for kind in kinds)
    if not is_right and not (value is None and "null" in types):
        raise ValueError(f"{text!r} has another type")
    return value
