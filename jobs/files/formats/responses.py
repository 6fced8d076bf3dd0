"""Read the body of a `/v1/responses` line that asks for text."""

from __future__ import annotations

from collections import Counter

from jobs.files.formats.fields import Faults
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.messages import read_messages

OWN = frozenset({"input", "instructions", "model", "text", "reasoning", "return_token_ids"})
_TEXT_KEYS = {"format": {"type": "text"}, "verbosity": "medium"}  # each with the value that asks for nothing


def read_responses_messages(
    body: dict[str, Json], faults: Faults, ignored: Counter[str]
) -> tuple[dict[str, Json], ...] | None:
    """Return the conversation of a body: `instructions` as the system's message, then the messages of `input`.

    Args:
        body: The body.
        faults: Gets the faults of `input`, `instructions` and `text`.
        ignored: Gets the keys of messages that have no effect.
    """
    system = faults.catch(_instructions, body.get("instructions"), default=())
    faults.catch(_check_text, body.get("text"), default=None)
    messages = faults.catch(_messages, body.get("input"), ignored, default=None)
    return None if messages is None else (*system, *messages)


def template_fields(body: dict[str, Json]) -> dict[str, Json]:
    """Return the body with `reasoning.effort` in the place where a chat body has it.

    Raises:
        LineInvalid: `reasoning` is not an object.
    """
    reasoning = body.get("reasoning")
    if reasoning is None:
        return body
    if type(reasoning) is not dict:
        raise LineInvalid(f"`reasoning` is {shown(reasoning)}; it must be an object")
    return body | {"reasoning_effort": reasoning.get("effort")}


def _instructions(value: Json) -> tuple[dict[str, Json], ...]:
    if value is None:
        return ()
    if type(value) is not str:
        raise LineInvalid(f"`instructions` is {shown(value)}; it must be a string")
    return ({"role": "system", "content": value},)


def _check_text(value: Json) -> None:
    if value is None:
        return
    if type(value) is not dict:
        raise LineInvalid(f"`text` is {shown(value)}; it must be an object")
    for key, said in value.items():
        if said is not None and said != _TEXT_KEYS.get(key):
            raise LineInvalid(f"`text.{key}` is {shown(said)}; it is not supported: leave it out")


def _messages(value: Json, ignored: Counter[str]) -> tuple[dict[str, Json], ...]:
    if type(value) is str:
        return ({"role": "user", "content": value},)
    if type(value) is not list or not value:
        raise LineInvalid(f"`input` is {shown(value)}; it must be a string or a list of messages")
    return read_messages([_message(item, position) for position, item in enumerate(value)], ignored, "input")


def _message(item: Json, position: int) -> Json:
    if type(item) is not dict:
        return item
    kind = item.get("type")
    if kind is not None and kind != "message":
        raise LineInvalid(f"`input[{position}].type` is {shown(kind)}; only messages are supported")
    return {key: value for key, value in item.items() if key not in ("type", "status")}
