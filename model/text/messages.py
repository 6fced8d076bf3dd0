"""Checks of a conversation before rendering, with errors in the caller's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]

MAX_DEPTH = 64  # maximum nesting of lists and objects; JSON schemas of real tools stay below 20

ROLES = ("system", "user", "assistant", "tool")
_SAME_ROLE = {"developer": "system"}  # the OpenAI API's newer name of this role
_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")  # transformers accepts all of them for one field


class MessagesInvalid(ValueError):
    """A conversation, or an argument of its template, cannot be rendered. The message gives place and reason."""


def checked_messages(messages: object) -> list[Message]:
    """Check a conversation and return a copy in the form that Qwen3's templates expect.

    Like transformers, it drops keys whose value is null and accepts a message's reasoning under any of three names. It
    also converts what the OpenAI API allows and the template does not:

    - Text parts of a message's content are joined by newlines.
    - An assistant message without content gets empty content.
    - The role `developer` becomes `system`.

    Raises:
        MessagesInvalid: `messages` is not a list of messages, a role is unknown, content is not text, or data are not
            JSON.
    """
    if not isinstance(messages, list | tuple):
        raise MessagesInvalid(f"`messages` is {kind_of(messages)}; it must be a list")
    if not messages:
        raise MessagesInvalid("`messages` is empty; it must have at least one message")
    return [_checked_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def check_json(value: object, where: str, depth: int = 0) -> None:
    """Check that `value` is valid JSON data.

    Args:
        value: The value to check.
        where: Path of the value, for messages.
        depth: Nesting level of the value.

    Raises:
        MessagesInvalid: JSON cannot hold the value, UTF-8 cannot encode it, or it is nested deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise MessagesInvalid(f"`{where[:80]}…` is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(item, f"{where}[{index}]", depth + 1)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise MessagesInvalid(f"`{where}` has the key {key!r}; keys must be text")
            _check_text(key, f"a key of {where}")
            check_json(item, f"{where}.{key[:40]}", depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        raise MessagesInvalid(f"`{where}` is a {type(value).__name__}, which JSON cannot hold")


def kind_of(value: object) -> str:
    """Return the kind of a JSON value, in words for a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"


def _checked_message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise MessagesInvalid(f"`{where}` is {kind_of(message)}; it must be an object with `role` and `content`")
    check_json(message, where)
    checked = {key: value for key, value in message.items() if value is not None}
    checked["role"] = _checked_role(checked.get("role"), where)
    checked["content"] = _checked_content(checked, where)
    _check_tool_calls(checked.get("tool_calls", []), where)
    reasoning = next((checked[name] for name in _REASONING_NAMES if name in checked), None)
    if reasoning is not None:
        if not isinstance(reasoning, str):
            raise MessagesInvalid(f"the reasoning of `{where}` is {kind_of(reasoning)}; it must be text")
        checked = {"thinking": reasoning, **checked, "reasoning_content": reasoning}
    return checked


def _checked_role(role: object, where: str) -> str:
    known = _SAME_ROLE.get(role, role) if isinstance(role, str) else role
    if known not in ROLES:
        fault = "is missing" if role is None else f"is {role!r:.60}"
        raise MessagesInvalid(f"`{where}.role` {fault}; it must be one of {', '.join(ROLES)}")
    return str(known)


def _checked_content(message: Message, where: str) -> str:
    content = message.get("content")
    if content is None:
        if message["role"] == "assistant":
            return ""  # a message that only calls tools
        raise MessagesInvalid(f"`{where}.content` is missing; a {message['role']} message must have text")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise MessagesInvalid(f"`{where}.content` is {kind_of(content)}; it must be text or a list of text parts")
    return "\n".join(_text_of(part, f"{where}.content[{index}]") for index, part in enumerate(content))


def _text_of(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else None
    fault = f"has the type {kind!r:.60}" if kind is not None and kind != "text" else f"is {kind_of(part)} without text"
    raise MessagesInvalid(f'`{where}` {fault}; this model reads only text: {{"type": "text", "text": "…"}}')


def _check_tool_calls(calls: object, where: str) -> None:
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        raise MessagesInvalid(f"`{where}.tool_calls` must be a list of objects")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessagesInvalid(
            f"`{where}` has a lone surrogate, half a character, at position {error.start} "
            f"(U+{ord(text[error.start]):04X})"
        ) from None
