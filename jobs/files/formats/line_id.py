"""The name that a line gives itself."""

from __future__ import annotations

from jobs.files.formats.json_line import Json, shown
from jobs.files.formats.line_invalid import LineInvalid

MAX_ID_CHARS = 512


def read_id(key: str, value: Json) -> str:
    """A line's id. Raises `LineInvalid` if it is not a string of 1 to `MAX_ID_CHARS` characters."""
    if type(value) is not str:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string")
    if not 0 < len(value) <= MAX_ID_CHARS:
        raise LineInvalid(f"`{key}` has {len(value):,} characters; it must have 1 to {MAX_ID_CHARS}")
    return value
