"""Decompress a stream while it is read. The first bytes decide the method, not the file's name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from jobs.errors import InvalidInput

MAGIC_BYTES = 6

_BUFFER_BYTES = 2**18
# A few bytes can expand to a few hundred kB. zstandard has no limit for its output, so its input is limited.
_ZSTD_INPUT_BYTES = 2**10


def decompressed(stream: BinaryIO, head: bytes, name: str) -> io.BufferedReader | None:
    """Return the decompressed stream, or None if the content is not compressed.

    Args:
        stream: The content from its first byte on. It stays open when the returned stream is closed.
        head: The content's first bytes, at least `MAGIC_BYTES` if there are so many.
        name: The source's name for messages.

    Raises (while the returned stream is read):
        InvalidInput: The compressed data is damaged, or it ends too early.
    """
    for magic, (method, opened) in _METHODS.items():
        if head.startswith(magic):
            return io.BufferedReader(_Checked(opened(stream), name, method), _BUFFER_BYTES)
    return None


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Checked(io.RawIOBase):
    """A decompressed stream whose errors are errors for users."""

    def __init__(self, inner: _Readable, name: str, method: str) -> None:
        self._inner = inner
        self._name = name
        self._method = method

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        place = memoryview(cast("bytearray", buffer))
        try:
            piece = self._inner.read(len(place))
        except EOFError:
            raise InvalidInput(
                f"{self._name} ends in the middle of its {self._method} data.",
                "The file is incomplete: copy or download it again.",
            ) from None
        except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, _Damaged) as error:
            raise self._damaged(str(error)) from None
        except OSError as error:
            if error.errno is not None:
                raise  # the disk's fault, which the caller reports
            raise self._damaged(str(error)) from None
        place[: len(piece)] = piece
        return len(piece)

    def _damaged(self, reason: str) -> InvalidInput:
        return InvalidInput(
            f"{self._name} holds damaged {self._method} data: {reason.rstrip('.').lower()}.",
            "Copy or download it again.",
        )


class _Damaged(Exception):
    """The data is not valid zstandard data."""


class _Zstd:
    """A stream of zstandard frames."""

    def __init__(self, source: BinaryIO) -> None:
        import zstandard

        self._source = source
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame = self._new_frame()
        self._begun = False  # True within a frame
        self._output = b""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, and no byte at the end. Raises `EOFError` within a frame."""
        while not self._output:
            piece = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._begun = self._new_frame(), False
            piece = piece or self._source.read(_ZSTD_INPUT_BYTES)
            if not piece:
                if self._begun:
                    raise EOFError
                return b""
            self._begun = True
            try:
                self._output = self._frame.decompress(piece)
            except self._error as error:
                raise _Damaged(str(error).removeprefix("zstd decompressor error: ")) from None
        taken, self._output = self._output[:size], self._output[size:]
        return taken


_METHODS: dict[bytes, tuple[str, Callable[[BinaryIO], _Readable]]] = {
    b"\x1f\x8b": ("gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    b"\x28\xb5\x2f\xfd": ("zstandard", _Zstd),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
}
