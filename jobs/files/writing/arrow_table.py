"""Write rows as Parquet or as an Arrow file, by batches. Memory holds one row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from jobs.errors import InvalidInput
from jobs.files.reading.container import Container
from jobs.files.writing.arrow_values import Column
from jobs.files.writing.destination import Output

_BATCH_ROWS = 1024
_BATCH_BYTES = 2**20  # JSON per record batch
_GROUP_ROWS = 2**17  # max rows of a row group
_GROUP_BYTES = 2**24  # a row group ends once its columns take this much memory

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def write_arrow(rows: Iterable[bytes], columns: Mapping[str, Column], output: Output, container: Container) -> None:
    """Write a table.

    Args:
        rows: JSON objects, one per row. A column that a row leaves out is null.
        columns: Type of each column, in order.
        output: Gets the bytes.
        container: Parquet or Arrow.

    Raises:
        InvalidInput: A value does not fit the type of its column.
    """
    schema = pa.schema([pa.field(name, column.type) for name, column in columns.items()])
    sink = pa.PythonFile(_File(output), mode="w")
    if container is Container.PARQUET:
        writer: Any = parquet.ParquetWriter(sink, schema, compression="zstd")
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        writer = pa.ipc.new_file(sink, schema, options=options)
    with writer:
        for table in _groups(rows, columns, schema):
            writer.write_table(table)
    sink.flush()


class _File:
    """An output as a file of Python, which Arrow can write to."""

    closed = False

    def __init__(self, output: Output) -> None:
        self.write = output.write

    def flush(self) -> None:
        """Do nothing: the output has its own buffer."""

    def close(self) -> None:
        """Do nothing: whoever opened the output closes it."""


def _groups(rows: Iterable[bytes], columns: Mapping[str, Column], schema: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield tables of one row group each. The rows become Arrow's compact columns batch by batch."""
    batches: list[Any] = []
    for batch in _batches(rows):
        values = [_decode(row) for row in batch]
        arrays = [_array(name, column, values) for name, column in columns.items()]
        batches.append(pa.record_batch(arrays, schema=schema))
        if sum(b.num_rows for b in batches) >= _GROUP_ROWS or sum(b.nbytes for b in batches) >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _batches(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(rows)
    while batch := list(islice(rest, 1)):
        size = len(batch[0])
        for row in islice(rest, _BATCH_ROWS - 1):
            batch.append(row)
            size += len(row)
            if size >= _BATCH_BYTES:
                break
        yield batch


def _array(name: str, column: Column, rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - pyarrow comes without types
    values = [row.get(name) for row in rows]
    try:
        if column.convert is not None:
            values = [None if value is None else column.convert(value) for value in values]
        return pa.array(values, type=column.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InvalidInput(
            f"The column {name!r} cannot be written as {column.type}: {reason}.", "Name a .jsonl file for the results."
        ) from None
