"""The constraint on a completion that must call tools."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from jobs.constraints.grammar import json_in_lark
from jobs.records.constraint import Constraint

_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}

_encode = msgspec.json.Encoder().encode


def forced_calls(tools: Sequence[dict[str, Any]], names: Collection[str], several: bool) -> Constraint:
    """Return a grammar of calls, written as Qwen3's chat template writes them (Hermes style).

    `<tool_call>` and its end tag are tokens of the model here, not texts.

    Args:
        tools: Tools in the shape of the OpenAI API. Arguments follow the schema of their tool.
        names: Functions that may be called.
        several: True if more than one call may follow.
    """
    functions = [tool["function"] for tool in tools if tool["function"]["name"] in names]
    rules = ['call: <tool_call> "\\n" body "\\n" </tool_call>']
    rules.insert(0, 'start: call ("\\n" call)*' if several else "start: call")
    rules.append("body: " + " | ".join(f"body_{place}" for place in range(len(functions))))
    for place, function in enumerate(functions):
        beginning = f'{{"name": {_text(function["name"])}, "arguments": '
        schema = _text(function.get("parameters") or _NO_PARAMETERS)
        rules.append(f'body_{place}: {_text(beginning)} arguments_{place} "}}"')
        rules.append(f"arguments_{place}: %json {json_in_lark(schema, function.get('strict') is True)}")
    return Constraint("grammar", "\n".join(rules))


def _text(value: object) -> str:
    return _encode(value).decode()
