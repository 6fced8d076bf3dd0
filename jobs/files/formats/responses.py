"""Read the body of a `/v1/responses` line that asks for text."""

from __future__ import annotations

from collections import Counter

from jobs.constraints.requested import text_format
from jobs.files.formats.features.tools import TOOL_KEYS, nested
from jobs.files.formats.fields import Faults
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.messages import read_messages
from jobs.records.constraint import Constraint

KEYS = (
    *("input", "instructions", "model", "text", "reasoning", "return_token_ids"),
    *("include", "top_logprobs"),
)
OWN = frozenset({*KEYS, *TOOL_KEYS})
_INCLUDED_LOGPROBS = "message.output_text.logprobs"


def read_responses_messages(
    body: dict[str, Json], faults: Faults, ignored: Counter[str]
) -> tuple[dict[str, Json], ...] | None:
    """Return the conversation of a body: `instructions` as the system's message, then the messages of `input`.

    Args:
        body: The body.
        faults: Gets the faults of `input` and `instructions`.
        ignored: Gets the keys of messages that have no effect.
    """
    system = faults.catch(_instructions, body.get("instructions"), default=())
    messages = faults.catch(_messages, body.get("input"), ignored, default=None)
    return None if messages is None else (*system, *messages)


def template_fields(body: dict[str, Json]) -> dict[str, Json]:
    """Return the body with `reasoning.effort` and `tools` in the place and shape of a chat body.

    Raises:
        LineInvalid: `reasoning` is not an object.
    """
    if type(tools := body.get("tools")) is list:
        body = body | {"tools": [nested(tool) for tool in tools]}
    reasoning = body.get("reasoning")
    if reasoning is None:
        return body
    if type(reasoning) is not dict:
        raise LineInvalid(f"`reasoning` is {shown(reasoning)}; it must be an object")
    return body | {"reasoning_effort": reasoning.get("effort")}


def logprob_fields(body: dict[str, Json]) -> dict[str, Json]:
    """Return the body with what `include` says about log-probabilities in the place of a chat body.

    Raises:
        LineInvalid: `include` asks for something else, or is no list.
    """
    include = body.get("include")
    if include is None:
        return body
    if type(include) is not list:
        raise LineInvalid(f"`include` is {shown(include)}; it must be a list")
    for wanted in include:
        if wanted != _INCLUDED_LOGPROBS:
            raise LineInvalid(f'`include` has {shown(wanted)}; it may only have "{_INCLUDED_LOGPROBS}"')
    return body | {"logprobs": bool(include)}


def read_text(value: Json) -> Constraint | None:
    """Return the constraint of the body's `text`, or None if it has none.

    Raises:
        LineInvalid: The value is no object, its `format` is wrong, or it has another key.
    """
    if value is None:
        return None
    if type(value) is not dict:
        raise LineInvalid(f"`text` is {shown(value)}; it must be an object")
    for key, said in value.items():
        if key != "format" and said is not None and (key, said) != ("verbosity", "medium"):
            raise LineInvalid(f"`text.{key}` is {shown(said)}; it is not supported: leave it out")
    return None if value.get("format") is None else text_format("text.format", value["format"])


def _instructions(value: Json) -> tuple[dict[str, Json], ...]:
    if value is None:
        return ()
    if type(value) is not str:
        raise LineInvalid(f"`instructions` is {shown(value)}; it must be a string")
    return ({"role": "system", "content": value},)


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
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        return {"role": "assistant", "content": "", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
    if kind is not None and kind != "message":
        raise LineInvalid(
            f"`input[{position}].type` is {shown(kind)}; only messages, function calls and their outputs are supported"
        )
    return {key: value for key, value in item.items() if key not in ("type", "status")}
