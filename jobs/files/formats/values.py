"""Readers of single values. Each converts a JSON value to a setting's value, or raises `LineInvalid`.

null means "not set", and callers do not pass it. JSON has one type of number, so 64.0 is accepted as the integer 64,
and 1 as the number 1.0. true and false are never numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.sampling import NOTHING_SAID, RANGES, Range, SamplingSettings

MAX_TOKEN_ID = 2**31 - 1  # limit for every model; a model card sets a lower one


def integer(key: str, value: Json, setting: str | None = None) -> int:
    """Read a whole number in the range of `setting`, which is `key` by default."""
    return whole(key, value, RANGES[setting or key])


def whole(key: str, value: Json, allowed: Range) -> int:
    """Read a whole number in a range."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if not is_whole or value not in allowed:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a whole number {allowed}")
    return int(value)


def number(key: str, value: Json) -> float:
    """Read a number in `RANGES[key]`."""
    if (type(value) is not float and type(value) is not int) or value not in RANGES[key]:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a number {RANGES[key]}")
    return float(value)


def boolean(key: str, value: Json) -> bool:
    """Read true or false. Neither 1 nor "true" is accepted."""
    if type(value) is not bool:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be true or false")
    return value


def flag(line: Mapping[str, Json], key: str) -> bool:
    """Read the line's boolean `key`. False if it is not set."""
    value = line.get(key)
    return False if value is None else boolean(key, value)


def string(key: str, value: Json) -> str:
    """Read a string, which may be empty."""
    if type(value) is not str:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string")
    return value


def token_ids(key: str, value: Json) -> tuple[int, ...]:
    """Read a list of token ids, which may be empty."""
    if type(value) is not list or not set(map(type, value)) <= {int}:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a list of token ids, whole numbers")
    if value and not (min(value) >= 0 and max(value) <= MAX_TOKEN_ID):
        wrong = min(value) if min(value) < 0 else max(value)
        raise LineInvalid(f"`{key}` holds {shown(wrong)}; a token id must be from 0 to {MAX_TOKEN_ID:,}")
    return tuple(value)


def stop(key: str, value: Json) -> tuple[str, ...]:
    """Read one string or a list of strings."""
    if type(value) is str:
        return (value,)
    if type(value) is not list or not set(map(type, value)) <= {str}:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string or a list of strings")
    return tuple(value)


def settings(said: Mapping[str, Any]) -> SamplingSettings:
    """Make a line's settings from values that the readers returned.

    Raises:
        LineInvalid: Two values contradict each other, or `stop` has too many or too long strings.
    """
    if not said:
        return NOTHING_SAID
    least, most = said.get("min_tokens"), said.get("max_tokens")
    if least is not None and most is not None and least > most:
        raise LineInvalid(f"`min_tokens` is {least:,}; it must be at most `max_tokens`, which is {most:,}")
    try:
        return SamplingSettings(**said)
    except ValueError as error:
        raise LineInvalid(str(error)) from None
