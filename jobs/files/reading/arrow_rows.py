"""Read Parquet, Arrow and Feather files by record batches. Nested columns become JSON arrays and objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from jobs.errors import InvalidInput
from jobs.files.reading.row import SourceRow

_BATCH_ROWS = 1024
_BUFFER_BYTES = 2**20
_HEAD_BYTES = 8
_ARROW_FILE = b"ARROW1\x00\x00"


def is_parquet(head: bytes) -> bool:
    """Return whether the content begins as a Parquet file does."""
    return head.startswith(b"PAR1")


def is_arrow(head: bytes) -> bool:
    """Return whether the content begins as an Arrow file (Feather version 2) or an Arrow stream does."""
    return head.startswith((_ARROW_FILE, b"\xff\xff\xff\xff"))


def arrow_rows(stream: BinaryIO, name: str) -> Iterator[SourceRow]:
    """Yield each row as a JSON object, with its number from 1.

    Dates and times become ISO 8601 texts, decimals become texts, and bytes become base64. Not-a-number becomes null.

    Args:
        stream: A seekable stream of a Parquet or an Arrow file.
        name: The source's name for messages.

    Raises:
        InvalidInput: pyarrow is not installed, or the file is damaged.
    """
    pyarrow, head = _pyarrow(name), _head(stream)
    encode = msgspec.json.Encoder(enc_hook=str).encode
    number = 0
    with _damage_named(pyarrow, head, name):
        for batch in _batches(pyarrow, stream, head):
            batch.validate(full=True)  # pyarrow trusts the offsets in a file, and a wrong one can end the process
            names = batch.schema.names
            if len(set(names)) < len(names):
                raise InvalidInput(f"{name} has two columns of one name.", "Rename one of them.")
            columns = [_values(pyarrow, column) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, encode(dict(zip(names, cells, strict=True)))


def arrow_types(stream: BinaryIO, name: str) -> dict[str, Any]:
    """Return the type of each column, a `pyarrow.DataType`.

    Args:
        stream: A seekable stream of a Parquet or an Arrow file.
        name: The source's name for messages.

    Raises:
        InvalidInput: pyarrow is not installed, or the file is damaged.
    """
    pyarrow, head = _pyarrow(name), _head(stream)
    with _damage_named(pyarrow, head, name):
        if is_parquet(head):
            from pyarrow import parquet

            schema = parquet.read_schema(stream)
        else:
            opened = pyarrow.ipc.open_file if head.startswith(_ARROW_FILE) else pyarrow.ipc.open_stream
            schema = opened(stream).schema
    return dict(zip(schema.names, schema.types, strict=True))


def _head(stream: BinaryIO) -> bytes:
    """Return the stream's first bytes, which tell the container. The stream is at its beginning afterwards."""
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    return head


@contextmanager
def _damage_named(pyarrow: Any, head: bytes, name: str) -> Iterator[None]:  # noqa: ANN401
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        raise InvalidInput(
            f"{name} cannot be read as {'Parquet' if is_parquet(head) else 'Arrow'}: {_reason(error)}.",
            "The file is damaged or incomplete: copy or download it again.",
        ) from None


def _pyarrow(name: str) -> Any:  # noqa: ANN401 - pyarrow comes without types
    try:
        import pyarrow
    except ImportError:
        raise InvalidInput(
            f"Reading {name} needs pyarrow, which is not installed.", "Install it: pip install 'qwen-batch[tables]'"
        ) from None
    return pyarrow


def _batches(pyarrow: Any, stream: BinaryIO, head: bytes) -> Iterator[Any]:  # noqa: ANN401
    """Yield record batches. Few rows at a time, in one thread: this keeps memory flat."""
    if is_parquet(head):
        from pyarrow import parquet

        file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        yield from file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
        return
    if head.startswith(_ARROW_FILE):
        reader = pyarrow.ipc.open_file(stream)
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        batches = iter(pyarrow.ipc.open_stream(stream))
    for batch in batches:
        for first in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(first, _BATCH_ROWS)


def _values(pyarrow: Any, column: Any) -> list[Any]:  # noqa: ANN401
    """Return a column's values as Python objects. Python has no time of nanoseconds, so such a time becomes a text."""
    kind = column.type
    in_nanoseconds = pyarrow.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns"
    if in_nanoseconds or pyarrow.types.is_duration(kind):
        column = column.cast(pyarrow.int64()) if pyarrow.types.is_duration(kind) else column.cast(pyarrow.string())
    values: list[Any] = column.to_pylist()
    return values


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
