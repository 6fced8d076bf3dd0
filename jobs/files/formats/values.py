"""Readers of single values. Each converts a JSON value to a setting's value, or raises `LineInvalid`.

null means "not set", and callers do not pass it. JSON has one type of number, so 64.0 is accepted as the integer 64,
and 1 as the number 1.0. Neither true nor false is a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from typing import Any

from msgspec import structs

from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.sampling import (
    LOGIT_BIAS,
    MAX_ALLOWED_TOKENS,
    MAX_BAD_WORDS,
    MAX_BIASES,
    MAX_STOP_STRING_CHARS,
    NOTHING_SAID,
    RANGES,
    Range,
    SamplingSettings,
)

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
    return float(value) + 0.0  # turns -0.0 into 0.0, so that equal numbers are written alike


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


def logit_bias(key: str, value: Json) -> tuple[tuple[int, float], ...]:
    """Read an object of token ids and numbers from -100 to 100."""
    if type(value) is not dict:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be an object of token ids and numbers")
    _check_count(key, len(value), MAX_BIASES)
    biases = []
    for name, bias in value.items():
        if not (name.isascii() and name.isdecimal() and int(name[:20]) <= MAX_TOKEN_ID):
            raise LineInvalid(f"`{key}` has the key {shown(name)}; a key must be a token id, a whole number")
        if type(bias) not in (int, float) or bias not in LOGIT_BIAS:
            raise LineInvalid(f"`{key}.{name}` is {shown(bias)}; it must be a number {LOGIT_BIAS}")
        biases.append((int(name), float(bias)))
    return tuple(sorted(dict(biases).items()))


def allowed_token_ids(key: str, value: Json) -> tuple[int, ...]:
    """Read a list of at least one token id."""
    ids = token_ids(key, value)
    if not ids:
        raise LineInvalid(f"`{key}` is an empty list; it must have at least one token id")
    _check_count(key, len(ids), MAX_ALLOWED_TOKENS)
    return tuple(sorted(set(ids)))


def bad_words(key: str, value: Json) -> tuple[str, ...]:
    """Read a list of texts, none of which is empty."""
    if type(value) is not list or not set(map(type, value)) <= {str}:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a list of strings")
    _check_count(key, len(value), MAX_BAD_WORDS)
    for word in value:
        if not 0 < len(word.strip()) <= MAX_STOP_STRING_CHARS:
            raise LineInvalid(
                f"`{key}` holds a string of {len(word):,} characters; it must have 1 to {MAX_STOP_STRING_CHARS:,}, "
                "and not only spaces"
            )
    return tuple(value)


def _check_count(key: str, count: int, max_count: int) -> None:
    if count > max_count:
        raise LineInvalid(f"`{key}` has {count:,} entries; at most {max_count:,} are allowed")


def settings(said: dict[str, Any]) -> SamplingSettings:
    """Make a line's settings from values that the readers returned. Takes the seed out of `said`.

    Raises:
        LineInvalid: Two values contradict each other, or `stop` has too many or too long strings.
    """
    if not said:
        return NOTHING_SAID
    min_tokens, max_tokens = said.get("min_tokens"), said.get("max_tokens")
    if min_tokens is not None and max_tokens is not None and min_tokens > max_tokens:
        raise LineInvalid(f"`min_tokens` is {min_tokens:,}; it must be at most `max_tokens`, which is {max_tokens:,}")
    seed = said.pop("seed", None)
    try:
        checked = _checked_settings(tuple(said.items()))
    except ValueError as error:
        raise LineInvalid(str(error)) from None
    return checked if seed is None else _with_seed(checked, seed)


def _with_seed(checked: SamplingSettings, seed: int) -> SamplingSettings:
    """Return a copy of checked settings with a seed, whose reader has checked it. Does not check all of them again."""
    settings_with_seed = copy(checked)
    structs.force_setattr(settings_with_seed, "seed", seed)
    return settings_with_seed


@lru_cache(maxsize=256)  # most lines of a file have equal settings, but for the seed; the check takes long
def _checked_settings(said: tuple[tuple[str, Any], ...]) -> SamplingSettings:
    return SamplingSettings(**dict(said))
