"""Read the lines of a prompt file as bytes, in constant memory for any content."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from jobs.errors import InvalidInput
from jobs.files.encoding_advice import NOT_UTF8
from jobs.files.reading.row import MAX_ROW_BYTES, RefusedRow, SourceRow, too_long

_READ_BYTES = 2**20


class RawLines:
    """Iterates once over the lines of a stream that are not blank.

    Args:
        stream: The stream. It is read from its current position to its end.
        name: The file's name for messages.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """Hash of all bytes read so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[SourceRow]:
        """Iterate over (line number from 1, bytes). A line of more than `MAX_ROW_BYTES` is a `RefusedRow`.

        The bytes include the newline. A byte order mark at the start of the file is removed.

        Raises:
            InvalidInput: Reading the file fails.
        """
        number = 0
        while line := self._read(MAX_ROW_BYTES + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                self._skip_rest()
                yield number, too_long("line")
            elif not line.isspace() and line:
                yield number, line

    def _read(self, limit: int) -> bytes:
        try:
            line = self._stream.readline(limit)
        except OSError as error:
            raise InvalidInput(f"{self._name} cannot be read: {error.strerror}.") from error
        self._hash.update(line)
        return line

    def _skip_rest(self) -> None:
        while (piece := self._read(_READ_BYTES)) and not piece.endswith(b"\n"):
            pass


def text_rows(lines: RawLines) -> Iterator[SourceRow]:
    """Yield each line of plain text as a row `{"prompt": line}`."""
    encode = msgspec.json.Encoder().encode
    for number, line in lines:
        if not isinstance(line, bytes):
            yield number, line
            continue
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{line[error.start]:02x} at position {error.start + 1:,}"
            yield number, RefusedRow(f"{NOT_UTF8}: {wrong}")
        else:
            yield number, encode({"prompt": text})
