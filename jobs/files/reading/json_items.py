"""Read the items of a JSON array as a stream: a whole document, or an array inside one object."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from jobs.errors import InvalidInput
from jobs.files.encoding_advice import encoding_advice
from jobs.files.reading.row import MAX_ROW_BYTES, SourceRow

ARRAY_KEYS = ("data", "rows", "examples", "prompts")
HEAD_BYTES = 2**20  # the array of an object begins within these bytes

_READ_BYTES = 2**18
_SPACE = " \t\r\n"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_ARRAY_FOLLOWS = re.compile(rb"\s*:\s*\[")
_KEYS = frozenset(f'"{key}"'.encode() for key in ARRAY_KEYS)


def array_start(head: bytes) -> int | None:
    """Return the offset after the `[` of the document's array, or None if the document has none in `head`.

    Args:
        head: First bytes of a JSON document, an array or an object.
    """
    depth = 0
    for token in _TOKEN.finditer(head):
        text = token[0]
        if text in b"{[":
            if depth == 0 and text == b"[":
                return token.end()
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif depth == 1 and text in _KEYS and (array := _ARRAY_FOLLOWS.match(head, token.end())):
            return array.end()
    return None


def json_items(stream: BinaryIO, name: str) -> Iterator[SourceRow]:
    """Yield each item of a document's array, with its number from 1. Memory holds one item at a time.

    Args:
        stream: The document from its first byte on.
        name: The source's name for messages.

    Raises:
        InvalidInput: The document is not valid JSON, or it has no array. The items before the fault are yielded first.
    """
    items = _Items(stream, name)
    number = 0
    while (item := items.next(number + 1)) is not None:
        number += 1
        yield number, item.encode()


class _Items:
    """A cursor over the items of an array."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._ended = False
        head = stream.read(HEAD_BYTES)
        start = array_start(head)
        if start is None:
            raise InvalidInput(
                f"{name} is a JSON object without an array under {', '.join(ARRAY_KEYS[:-1])} or {ARRAY_KEYS[-1]}.",
                f"Write one JSON object per line: jq -c '.NAME[]' {name}",
            )
        self._text = self._decoded(head[start:])
        self._at = 0
        self._in_object = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")

    def next(self, number: int) -> str | None:
        """Return the text of the next item, or None after the last."""
        char = self._next_char(number)
        if char == "," and number > 1:
            self._at += 1
            char = self._next_char(number)
        elif char != "]" and number > 1:
            raise self._fault(number, "a comma or ] is missing before it")
        if char == "]":
            self._check_end()
            return None
        return self._item(number)

    def _item(self, number: int) -> str:
        size = _READ_BYTES
        while True:
            try:
                _, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                reason = error.msg.removesuffix(" starting at")  # the position in this text says nothing
            except RecursionError:
                raise self._fault(number, "it is nested too deeply") from None
            else:
                if end < len(self._text) or self._ended:  # a number at the end of the text may go on
                    item, self._at = self._text[self._at : end], end
                    return item
                reason = ""
            if len(self._text) - self._at > MAX_ROW_BYTES:
                raise self._fault(number, reason or f"it is longer than {MAX_ROW_BYTES // 2**20} MiB")
            if not self._more(size) and reason:
                raise self._fault(number, reason.lower())
            size *= 2  # so that a long item is scanned only a few times

    def _next_char(self, number: int) -> str:
        """Move to the next character that is not white space, and return it."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more(_READ_BYTES):
                raise self._fault(number, "the file ends before the array's ]")

    def _check_end(self) -> None:
        """Check that nothing follows an array that is the whole document."""
        rest = self._text[self._at + 1 :]
        while not self._in_object:
            if rest.strip(_SPACE):
                raise InvalidInput(
                    f"{self._name} has more text after its JSON array.", "Write one JSON object per line."
                )
            if not self._more(_READ_BYTES):
                return
            rest = self._text

    def _more(self, size: int) -> bool:
        """Drop the text that has been read, and read more. Returns False at the end of the stream."""
        piece = b"" if self._ended else self._stream.read(size)
        self._ended = self._ended or not piece
        self._text, self._at = self._text[self._at :] + self._decoded(piece), 0
        return not self._ended

    def _decoded(self, piece: bytes) -> str:
        try:
            return self._utf8.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            raise InvalidInput(
                f"{self._name} is not UTF-8: it holds the byte 0x{wrong:02x}.",
                encoding_advice(error.object, self._name),
            ) from None

    def _fault(self, number: int, reason: str) -> InvalidInput:
        return InvalidInput(
            f"{self._name} is not valid JSON at item {number:,} of its array: {reason}.",
            "Correct the file, or write it again.",
        )
