"""Decode lines that repeat a large value from line to line, such as a schema or a list of tools, without its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from jobs.files.formats.json_line import Json, LineInvalid, decode_object

_KEYS = ("response_format", "tools", "structured_outputs", "guided_json")
_MIN_BYTES = 100  # a smaller value is decoded as quickly as it is found
_MARK = 5_803_128_754_611_897  # stands for the value in the line that is decoded instead; no line has this number there
# After so many lines in a row without a repeated value, none is looked for in the rest of the file.
_MAX_TRIES = 20  # lines with a value that does not repeat
_MAX_LINES = 1000  # lines of any kind

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True)
class _Seen:
    """A key with its value, as it stood in a line and as it was decoded."""

    key: str
    text: bytes  # `"key": value` in the file's own spacing
    short: bytes  # `text` with the mark in place of the value
    value: Json


class RepeatedValue:
    """Decodes the lines of one file. A value whose bytes stood in an earlier line is the same object as there.

    Attributes:
        decode: Returns what `decode_object` returns for a line. Raises `LineInvalid` as it does.
    """

    def __init__(self) -> None:
        self._seen: _Seen | None = None
        self._tries_left = _MAX_TRIES
        self._lines_left = _MAX_LINES
        self.decode: Callable[[bytes], dict[str, Json]] = self._decode

    def _decode(self, line: bytes) -> dict[str, Json]:
        if self._seen is not None:
            said = _with_value(line, self._seen)
            if said is not None:
                self._tries_left, self._lines_left = _MAX_TRIES, _MAX_LINES
                return said
        said = decode_object(line)
        holder = _holder(said)
        key = next((key for key in _KEYS if type(holder.get(key)) in (dict, list)), None)
        if key is not None:
            self._seen = _find(line, key, said)
            self._tries_left -= 1
        self._lines_left -= 1
        if not (self._tries_left and self._lines_left):
            self.decode = decode_object
        return said


def _with_value(line: bytes, seen: _Seen) -> dict[str, Json] | None:
    """Decode a line with the mark in place of the value, and put the value in. None if that could be wrong.

    The line without the value is valid JSON exactly if the whole line is. The key before the value is kept, and its
    first quote has no backslash. So the value does not stand inside a text.
    """
    place = line.find(seen.text)
    after = place + len(seen.text)
    if place < 1 or line[place - 1] == ord("\\"):
        return None
    try:
        said = decode_object(line[:place] + seen.short + line[after:])
    except LineInvalid:
        return None  # the whole line has the right message
    holder = _holder(said)
    if holder.get(seen.key) != _MARK:
        return None  # the value belongs to another object of the line
    holder[seen.key] = seen.value
    return said


def _holder(said: dict[str, Json]) -> dict[str, Json]:
    """Return the object with a line's fields: the body, or the line itself."""
    body = said.get("body")
    return body if type(body) is dict else said


def _find(line: bytes, key: str, said: dict[str, Json]) -> _Seen | None:
    """Return where a line's value stands. None if the value is small, or cannot be found with certainty."""
    fields = _decode_raw(line)
    holder = _holder(said)
    text = bytes((fields if holder is said else _decode_raw(fields["body"]))[key])
    name = f'"{key}"'.encode()
    place = line.find(text)
    start = line.rfind(name, 0, place)
    between = line[start + len(name) : place]
    if len(text) < _MIN_BYTES or start < 0 or between.strip() != b":":
        return None
    return _Seen(key, line[start : place + len(text)], name + between + str(_MARK).encode(), holder[key])
