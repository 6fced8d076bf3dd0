"""Keep rows in a temporary file until all of their columns are known."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import zstandard

from jobs.errors import InvalidInput, OutputNotWritable
from jobs.files.writing.shapes import Shape

MAX_COLUMNS = 5000
_LEVEL = 1
_BUFFER_BYTES = 2**18

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class RowSpool:
    """Rows in an unnamed temporary file, compressed. The file vanishes with the process, even if it is killed.

    Args:
        with_shapes: True to find out the shapes of the columns.

    Raises (all methods):
        OutputNotWritable: There is no room for the temporary file.
    """

    def __init__(self, with_shapes: bool) -> None:
        self.shapes: dict[str, Shape] = {}  # column -> shape of its values; without shapes they stay empty
        self._with_shapes = with_shapes
        with _room():
            self._file = tempfile.TemporaryFile(buffering=_BUFFER_BYTES)  # noqa: SIM115 - `close` removes it
        self._writer = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(self._file, closefd=False)

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order of their first row."""
        return list(self.shapes)

    def write(self, row: bytes) -> None:
        """Add a row: a JSON object on a line of its own, including the newline.

        Raises:
            InvalidInput: The rows have more than `MAX_COLUMNS` columns.
        """
        shapes = self.shapes
        values = _decode(row) if self._with_shapes else _decode_raw(row)
        for name in values:
            if name not in shapes:
                shapes[name] = Shape()
        if len(shapes) > MAX_COLUMNS:
            raise InvalidInput(
                f"The results have more than {MAX_COLUMNS:,} columns, too many for a table.", "Name a .jsonl file."
            )
        if self._with_shapes:
            for name, value in values.items():
                shapes[name].add(value)
        with _room():
            self._writer.write(row)

    def rows(self) -> Iterator[bytes]:
        """Iterate over the rows in order. No row can be added any more."""
        with _room():
            self._writer.flush(zstandard.FLUSH_FRAME)
            self._file.flush()
        self._file.seek(0)
        with zstandard.ZstdDecompressor().stream_reader(self._file, closefd=False) as reader:
            yield from io.BufferedReader(reader, _BUFFER_BYTES)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputNotWritable(
            f"A temporary file for the table cannot be written: {error.strerror}.",
            "Set TMPDIR to a folder with enough space.",
        ) from error
