"""Check chat messages, and convert them to the form that chat templates read."""

from __future__ import annotations

from collections import Counter

import msgspec

from jobs.files.formats import values
from jobs.files.formats.json_line import Json, LineInvalid, check_free_form, shown
from jobs.files.formats.known_fields import unknown_key

MAX_FAULTS = 20  # max messages whose faults are named
MAX_MESSAGES = 10_000  # more than fit in any context; a template's time grows with the number of messages
ROLES = ("system", "user", "assistant", "tool")
_NEWER_NAMES = {"developer": "system"}  # the OpenAI API's newer name; Qwen3's template would drop it silently
_STRINGS = ("name", "tool_call_id", "reasoning_content")
_EMPTY_ONLY = ("refusal", "audio", "function_call", "annotations")  # null in messages that the API has returned
_KEYS = ("role", "content", "tool_calls", *_STRINGS)
_WITHOUT_EFFECT = frozenset({"cache_control", "id", "timestamp", "weight"})  # accepted, with a notice
_TEXT_PARTS = ("text", "input_text", "output_text")  # the last two are spellings of `/v1/responses`
_PART_KEYS = ("type", "text")
_CALL_KEYS = ("id", "type", "function", "index")
_FUNCTION_KEYS = ("name", "arguments")


def read_messages(
    value: Json, ignored: Counter[str] | None = None, name: str = "messages"
) -> tuple[dict[str, Json], ...]:
    """Return the messages with `content` as one string. Text parts are joined by a newline, as in vLLM.

    Args:
        value: The line's messages.
        ignored: Gets the keys of messages that have no effect.
        name: The key of the messages, for the errors.

    Raises:
        LineInvalid: The value is not a list of messages, a role or key is unknown, or content is not text. The message
            has one fault per text line, and at most one fault per message.
    """
    if type(value) is not list or not value:
        as_json = "; if it is a text, it must be a list in JSON" if type(value) is str else ""
        raise LineInvalid(f"`{name}` is {shown(value)}; it must be a list of at least one message{as_json}")
    if len(value) > MAX_MESSAGES:
        raise LineInvalid(f"`{name}` has {len(value):,} messages; at most {MAX_MESSAGES:,} are allowed")
    ignored = Counter() if ignored is None else ignored
    messages, faults = [], []
    for position, message in enumerate(value):
        if _is_plain(message):
            messages.append(message)
            continue
        try:
            messages.append(_read_message(message, f"{name}[{position}]", ignored))
        except LineInvalid as error:
            faults.append(str(error))
    if faults:
        raise LineInvalid("\n".join(faults[:MAX_FAULTS]))
    return tuple(messages)


def messages_in_text(value: Json) -> Json:
    """Return the list that a text holds as JSON. Any other value comes back. A cell of CSV can hold only text."""
    if type(value) is not str or not value.lstrip().startswith("["):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return value


def _is_plain(message: Json) -> bool:
    """Return whether a message needs no conversion: it is a known role with a text."""
    return (
        type(message) is dict
        and len(message) == 2
        and type(message.get("content")) is str
        and message.get("role") in ROLES
    )


def _read_message(message: Json, where: str, ignored: Counter[str]) -> dict[str, Json]:
    if type(message) is not dict:
        raise LineInvalid(f"`{where}` is {shown(message)}; it must be an object with `role` and `content`")
    role = message.get("role")
    if type(role) is not str or (role not in ROLES and role not in _NEWER_NAMES):
        raise LineInvalid(f"`{where}.role` is {shown(role)}; it must be one of {', '.join(ROLES)}")
    read = {
        key: _read_value(key, value, where, ignored)
        for key, value in message.items()
        if _is_said(key, value, where, ignored)
    }
    read["role"] = _NEWER_NAMES.get(role, role)
    if "content" not in read:
        if role != "assistant" or not (read.get("tool_calls") or read.get("reasoning_content")):
            raise LineInvalid(f"`{where}.content` is missing; it must be a string or a list of text parts")
        read["content"] = ""
    return read


def _is_said(key: str, value: Json, where: str, ignored: Counter[str]) -> bool:
    if value is None:
        return False
    if key in _WITHOUT_EFFECT:
        ignored[f"messages[].{key}"] += 1
        return False
    if key in _EMPTY_ONLY:
        if value == []:
            return False
        raise LineInvalid(f"`{where}.{key}` is {shown(value)}; it is not supported: leave it out")
    if key not in _KEYS:
        raise unknown_key(key, _KEYS, where)
    return True


def _read_value(key: str, value: Json, where: str, ignored: Counter[str]) -> Json:
    if key == "content":
        return _read_content(value, f"{where}.content", ignored)
    if key == "tool_calls":
        return _read_tool_calls(value, f"{where}.tool_calls")
    return values.string(f"{where}.{key}", value)


def _read_content(value: Json, where: str, ignored: Counter[str]) -> str:
    if type(value) is str:
        return value
    if type(value) is not list or not value:
        raise LineInvalid(f"`{where}` is {shown(value)}; it must be a string or a list of text parts")
    return "\n".join(_read_part(part, f"{where}[{position}]", ignored) for position, part in enumerate(value))


def _read_part(part: Json, where: str, ignored: Counter[str]) -> str:
    if type(part) is not dict:
        raise LineInvalid(f'`{where}` is {shown(part)}; it must be {{"type": "text", "text": "…"}}')
    if part.get("type") not in _TEXT_PARTS:
        raise LineInvalid(f"`{where}.type` is {shown(part.get('type'))}; only text parts are supported")
    for key, value in part.items():
        if key in _WITHOUT_EFFECT:
            ignored[f"messages[].content[].{key}"] += 1
        elif key not in _PART_KEYS and value is not None and not (key == "annotations" and value == []):
            raise unknown_key(key, _PART_KEYS, where)
    return values.string(f"{where}.text", part.get("text"))


def _read_tool_calls(value: Json, where: str) -> list[dict[str, Json]]:
    if type(value) is not list:
        raise LineInvalid(f"`{where}` is {shown(value)}; it must be a list of tool calls")
    for position, call in enumerate(value):
        _check_tool_call(call, f"{where}[{position}]")
    return value


def _check_tool_call(call: Json, where: str) -> None:
    function = call.get("function") if type(call) is dict else None
    if type(function) is not dict:
        raise LineInvalid(f"`{where}` has no `function` object with `name` and `arguments`")
    for key in call:
        if key not in _CALL_KEYS:
            raise unknown_key(key, _CALL_KEYS, where)
    if call.get("type", "function") != "function":
        raise LineInvalid(f'`{where}.type` is {shown(call["type"])}; it must be "function"')
    check_free_form([call.get("id"), call.get("index")], where)
    for key in function:
        if key not in _FUNCTION_KEYS:
            raise unknown_key(key, _FUNCTION_KEYS, f"{where}.function")
    values.string(f"{where}.function.name", function.get("name"))
    arguments = function.get("arguments", "")
    if type(arguments) is not str and type(arguments) is not dict:
        raise LineInvalid(f"`{where}.function.arguments` is {shown(arguments)}; it must be a string or an object")
    check_free_form(arguments, f"{where}.function.arguments")
