"""Put a system message into a line, at the place where the line's format has it."""

from __future__ import annotations

from jobs.files.formats.json_line import Json
from jobs.files.formats.messages import messages_in_text

_SYSTEM_ROLES = ("system", "developer")


def put_system_message(line: dict[str, Json], text: str) -> None:
    """Put a system message before the line's conversation, unless it has one. A raw prompt stays as it is.

    Args:
        line: The object of a line in any format. It is changed.
        text: Content of the system message.
    """
    body = line.get("body")
    holder = body if type(body) is dict else line
    if any(_put_before(holder, key, text) for key in ("messages", "prompt", "conversation", "conversations")):
        return
    if holder is body and "input" in body:
        _put_unless_said(body, ("instructions",), text, body["input"])
        return
    for anthropic in (line.get("params"), line.get("modelInput")):
        if type(anthropic) is dict and "messages" in anthropic:
            _put_unless_said(anthropic, ("system",), text, anthropic["messages"])
    for gemini in (line.get("request"), body):
        if type(gemini) is dict and "contents" in gemini:
            names = ("systemInstruction", "system_instruction")
            _put_unless_said(gemini, names, {"parts": [{"text": text}]}, gemini["contents"])


def _put_before(holder: dict[str, Json], key: str, text: str) -> bool:
    """Put the message before a list of messages under a key. Returns False if there is no such list."""
    messages = messages_in_text(holder.get(key))
    if type(messages) is not list or not messages or type(messages[0]) is not dict:
        return False
    if not _begins_with_system(messages):
        message = {"from": "system", "value": text} if "from" in messages[0] else {"role": "system", "content": text}
        holder[key] = [message, *messages]
    return True


def _put_unless_said(holder: dict[str, Json], names: tuple[str, ...], value: Json, messages: Json) -> None:
    if not _begins_with_system(messages) and all(holder.get(name) is None for name in names):
        holder[names[0]] = value


def _begins_with_system(messages: Json) -> bool:
    first = messages[0] if type(messages) is list and messages else None
    return type(first) is dict and (first.get("role") or first.get("from")) in _SYSTEM_ROLES
