"""Read the lines of a prompt file as bytes, in constant memory for any content."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from jobs.errors import InvalidInput

MAX_LINE_BYTES = 10 * 2**20

_READ_BYTES = 2**20
_COMPRESSED = {b"\x1f\x8b": "zcat", b"\x28\xb5\x2f\xfd": "zstdcat", b"BZh": "bzcat", b"\xfd7zXZ": "xzcat"}


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

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Iterate over (line number from 1, bytes). The bytes are None for a line of more than `MAX_LINE_BYTES`.

        The bytes include the newline. A byte order mark at the start of the file is removed.

        Raises:
            InvalidInput: The file is compressed or UTF-16, or reading it fails.
        """
        number = 0
        while line := self._read(MAX_LINE_BYTES + 1):
            number += 1
            if number == 1:
                self._check_start(line)
                line = line.removeprefix(codecs.BOM_UTF8)
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                self._skip_rest()
                yield number, None
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

    def _check_start(self, line: bytes) -> None:
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InvalidInput(
                f"{self._name} is UTF-16; it must be UTF-8.", "Convert it with `iconv -f UTF-16 -t UTF-8`."
            )
        for magic, program in _COMPRESSED.items():
            if line.startswith(magic):
                raise InvalidInput(
                    f"{self._name} is compressed.", f"Decompress it: `{program} {self._name} | qwen-batch submit -`."
                )
