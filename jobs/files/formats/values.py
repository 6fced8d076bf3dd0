"""Readers of single values: from what JSON gave to what a setting takes, or a message that says why not.

null means "not said" and never comes here. JSON has one kind of number, so 64.0 is read as the integer 64 and 1 as
the number 1.0; true and false are never numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobs.files.formats.json_line import Json, shown
from jobs.files.formats.line_invalid import LineInvalid
from jobs.records.sampling import NOTHING_SAID, RANGES, SamplingSettings

MAX_TOKEN_ID = 2**31 - 1  # where no model card says more


def integer(key: str, value: Json, setting: str | None = None) -> int:
    """A whole number inside the range of the setting, which is called `key` if nothing else is said."""
    allowed = RANGES[setting or key]
    whole = type(value) is int or (type(value) is float and value.is_integer())
    if not whole or value not in allowed:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a whole number {allowed}")
    return int(value)


def number(key: str, value: Json) -> float:
    """A number inside `RANGES[key]`."""
    if (type(value) is not float and type(value) is not int) or value not in RANGES[key]:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a number {RANGES[key]}")
    return float(value)


def boolean(key: str, value: Json) -> bool:
    """true or false; neither 1 nor "true"."""
    if type(value) is not bool:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be true or false")
    return value


def flag(line: Mapping[str, Json], key: str) -> bool:
    """The boolean of that key, false if nothing is said."""
    value = line.get(key)
    return False if value is None else boolean(key, value)


def string(key: str, value: Json) -> str:
    """A string, possibly empty."""
    if type(value) is not str:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string")
    return value


def token_ids(key: str, value: Json) -> tuple[int, ...]:
    """A list of token ids, possibly empty."""
    if type(value) is not list or not set(map(type, value)) <= {int}:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a list of token ids, whole numbers")
    if value and not (min(value) >= 0 and max(value) <= MAX_TOKEN_ID):
        wrong = min(value) if min(value) < 0 else max(value)
        raise LineInvalid(f"`{key}` holds {shown(wrong)}; a token id must be from 0 to {MAX_TOKEN_ID:,}")
    return tuple(value)


def stop(key: str, value: Json) -> tuple[str, ...]:
    """One string or a list of strings."""
    if type(value) is str:
        return (value,)
    if type(value) is not list or not set(map(type, value)) <= {str}:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string or a list of strings")
    return tuple(value)


SETTING_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_tokens": integer,
    "min_tokens": integer,
    "temperature": number,
    "top_k": integer,
    "top_p": number,
    "min_p": number,
    "presence_penalty": number,
    "frequency_penalty": number,
    "repetition_penalty": number,
    "seed": integer,
    "stop": stop,
    "stop_token_ids": token_ids,
    "ignore_eos": boolean,
}


def settings(said: Mapping[str, Any]) -> SamplingSettings:
    """The settings of a line from values that their readers returned.

    Raises:
        LineInvalid: They are wrong together, or `stop` has too many or too long strings.
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
