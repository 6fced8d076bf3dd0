"""Format the tool calls of a completion."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from jobs.files.results.origin import Origin
from jobs.records.completion import ToolCall


def call_objects(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return tool calls in the shape in which a message takes them."""
    return [{"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls]


def call_objects_with_ids(calls: Sequence[ToolCall], origin: Origin, line: int, choice: int) -> list[dict[str, Any]]:
    """Return the tool calls of a completion with their ids, as `call_id` makes them."""
    objects = enumerate(call_objects(calls))
    return [{"id": call_id(origin, line, choice, place), **call} for place, call in objects]


def call_id(origin: Origin, line: int, choice: int, place: int) -> str:
    """Return the id of a call, the same one at every reading.

    Args:
        origin: Where the completion comes from.
        line: The line's index.
        choice: Position of the completion among the line's completions.
        place: Position of the call in the completion.
    """
    name = f"{origin.id}/{line}/{choice}/{place}"
    return f"call_{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
