"""The native result line, see docs/results-format.md."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.records.completion import Completion

_encode = msgspec.json.Encoder().encode


def native_line(completion: Completion) -> bytes:
    """One result as a line of JSON, newline included.

    `token_ids` is there only if the line asked for it, and `line` only for a bad line without an id of its own.
    """
    result: dict[str, Any] = {
        "id": completion.id if completion.line is None else None,
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "usage": completion.usage,
        "error": completion.error,
    }
    if completion.token_ids is not None:
        result["token_ids"] = completion.token_ids
    if completion.line is not None:
        result["line"] = completion.line
    return _encode(result) + b"\n"
