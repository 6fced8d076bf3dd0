"""Compress a file while it is written."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from typing import Any, Protocol

from jobs.files.writing.destination import Output


class Compressor(Protocol):
    """An output that compresses. `close` writes the end of the compressed data, and leaves the inner output open."""

    def write(self, data: bytes, /) -> object:
        """Compress bytes."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def compressor(output: Output, ending: str) -> Compressor:
    """Return a compressor that writes to `output`.

    Args:
        output: Gets the compressed bytes.
        ending: Ending of the file's name: `.gz`, `.zst`, `.bz2` or `.xz`.
    """
    return _METHODS[ending](output)


def _gzip(output: Any) -> Compressor:  # noqa: ANN401 - any object with `write`
    return gzip.GzipFile(filename="", mode="wb", fileobj=output, mtime=0)  # no time: equal results give equal bytes


def _zstd(output: Any) -> Compressor:  # noqa: ANN401
    import zstandard

    return zstandard.ZstdCompressor().stream_writer(output, closefd=False)


_METHODS: dict[str, Callable[[Any], Compressor]] = {
    ".gz": _gzip,
    ".zst": _zstd,
    ".bz2": lambda output: bz2.BZ2File(output, "wb"),
    ".xz": lambda output: lzma.LZMAFile(output, "wb"),  # noqa: SIM115 - `close` ends it
}
