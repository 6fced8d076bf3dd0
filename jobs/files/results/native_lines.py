"""Format native result lines, see docs/results-format.md."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.records.completion import Completion
from jobs.records.prompt import NO_COLUMNS

_encode = msgspec.json.Encoder().encode


def native_line(completion: Completion, columns: msgspec.Raw = NO_COLUMNS) -> bytes:
    """Format one result as a line of JSON, including the newline.

    It has `token_ids` only if the line requested them, and `line` only for a bad line without its own id. `input` has
    the line's columns, if there are any.
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
    if columns != NO_COLUMNS:
        result["input"] = columns
    return _encode(result) + b"\n"
