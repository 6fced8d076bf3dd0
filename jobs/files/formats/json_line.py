"""Decode one line of JSON, and describe wrong values in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from jobs.files.encoding_advice import NOT_UTF8

Json = Any  # a decoded JSON value: None, bool, int, float, str, list or dict

MAX_DEPTH = 64  # max nesting of free-form values; far below the recursion limit of every later reader
MAX_SHOWN_CHARS = 60
# An escaped surrogate without its partner: a high one that no low one follows, or a low one that follows no high one.
_HALF_A_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_INT64 = range(-(2**63), 2**63)  # every JSON and MessagePack reader accepts these

_decode = msgspec.json.Decoder().decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class LineInvalid(ValueError):
    """A line cannot run. The message names the key, its value and the allowed values, but no line number."""


def decode_object(line: bytes) -> dict[str, Json]:
    """Decode the JSON object in a line. If a key occurs twice, its last value counts, as in Python's own parser.

    Raises:
        LineInvalid: The line is not UTF-8, not JSON, or not an object. NaN, Infinity and lone surrogates are not JSON.
    """
    try:
        value = _decode(line)
    except UnicodeDecodeError as error:
        raise LineInvalid(_not_utf8(line) or str(error)) from None
    except RecursionError:
        raise LineInvalid("the line is nested too deeply") from None
    except msgspec.DecodeError as error:  # in Shift-JIS, half a character may be a backslash
        raise LineInvalid(_not_utf8(line) or _not_json(line, error)) from None
    if type(value) is not dict:
        raise LineInvalid(f"the line is {shown(value)}; it must be one JSON object")
    return value


def raw_columns(line: bytes | msgspec.Raw, keys: Iterable[str]) -> msgspec.Raw:
    """Return a JSON object of some of a line's keys, with their values byte for byte as in the line.

    Args:
        line: A line that `decode_object` accepts.
        keys: Keys of the line.
    """
    values = _decode_raw(line)
    return msgspec.Raw(b"{" + b",".join(_encode(key) + b":" + bytes(values[key]) for key in keys) + b"}")


def shown(value: object) -> str:
    """Describe a value for a message: short, and recognisable to its author."""
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value):,}" if value else "an empty list"
    text = msgspec.json.encode(value[:MAX_SHOWN_CHARS] if isinstance(value, str) else value).decode()
    whole = len(value) if isinstance(value, str) else len(text)
    return text if whole <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def check_free_form(value: Json, where: str) -> None:
    """Refuse a free-form value that a later reader may not accept.

    Args:
        value: Any JSON value.
        where: The value's key, for the message.

    Raises:
        LineInvalid: The value is nested deeper than `MAX_DEPTH`, or holds an integer of more than 64 bits.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(type(item) is int and item not in _INT64 for item in level):
            raise LineInvalid(f"`{where}` holds an integer of more than 64 bits")
        inner = [item for item in level if type(item) is list or type(item) is dict]
        if not inner:
            return
        level = [child for item in inner for child in (item.values() if type(item) is dict else item)]
    raise LineInvalid(f"`{where}` is nested more than {MAX_DEPTH} deep")


def _not_utf8(line: bytes) -> str | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"{NOT_UTF8}: byte 0x{line[error.start]:02x} at position {error.start + 1:,}"
    return None


def _not_json(line: bytes, error: msgspec.DecodeError) -> str:
    if half := _HALF_A_PAIR.search(line):
        return f"the line is not JSON: {half[0].decode()} is half of a surrogate pair, which is not valid text"
    reason = str(error).removeprefix("JSON is malformed: ").partition(" - at ")[0].lower()
    if reason == "input data was truncated":
        reason = "it ends too early"
    note = " (NaN and Infinity are not JSON)" if b"NaN" in line or b"Infinity" in line else ""
    return f"the line is not JSON: {reason}{note}"
