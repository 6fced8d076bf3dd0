"""Write rows to an output in any format."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from jobs.files.reading.container import Container
from jobs.files.writing.compression import compressor
from jobs.files.writing.csv_table import write_csv
from jobs.files.writing.destination import Output
from jobs.files.writing.file_format import FileFormat
from jobs.files.writing.row_spool import RowSpool
from jobs.files.writing.shapes import Shape


@dataclass(frozen=True)
class Layout:
    """Columns of a table of rows. Columns that are named nowhere here stand between `first` and `last`."""

    first: tuple[str, ...] = ()  # columns on the left, which the table always has
    last: tuple[str, ...] = ()  # columns on the right, which the table always has
    optional: tuple[str, ...] = ()  # columns on the far right, if a row has them
    integers: frozenset[str] = frozenset()  # columns of whole numbers, even if every value is null
    types: bytes | None = None  # Arrow types of columns (`recorded_types`)
    float32: frozenset[str] = frozenset()  # columns whose lists of numbers are float32
    hidden: frozenset[str] = frozenset()  # columns that the table leaves out

    def columns(self, seen: list[str]) -> list[str]:
        """Return the names of the table's columns, in order.

        Args:
            seen: Names that occur in the rows, in the order of their first row.
        """
        placed = {*self.first, *self.last, *self.optional, *self.hidden}
        others = [name for name in seen if name not in placed]
        return [*self.first, *others, *self.last, *(name for name in self.optional if name in seen)]


class RowSink(Protocol):
    """Takes rows, and writes them to an output."""

    def write(self, row: bytes, /) -> object:
        """Add a row: a JSON object on a line of its own, including the newline."""
        ...

    def finish(self) -> None:
        """Write everything that has not been written yet. No row may follow."""
        ...


def rows_to(output: Output, format: FileFormat, layout: Callable[[], Layout]) -> AbstractContextManager[RowSink]:
    """Return a context manager that gives a sink for rows.

    A table needs its columns before its first row. Therefore, its rows go to an unnamed temporary file first, and
    `finish` makes the table of them. Memory does not grow with the number of rows.

    Args:
        output: Gets the file's bytes.
        format: The file's format.
        layout: Returns the columns of a table, after its last row. JSONL has none.
    """
    if format.is_table:
        return _TableSink(output, format, layout)
    return nullcontext(_Lines(output, format.compression))


class _Lines:
    """JSONL: each row is a line."""

    def __init__(self, output: Output, compression: str | None) -> None:
        self._compressor = compressor(output, compression) if compression is not None else None
        self.write = (self._compressor or output).write

    def finish(self) -> None:
        if self._compressor is not None:
            self._compressor.close()


class _TableSink(AbstractContextManager["_TableSink"]):
    """A table: CSV, TSV, Parquet or Arrow."""

    def __init__(self, output: Output, format: FileFormat, layout: Callable[[], Layout]) -> None:
        self._output = output
        self._format = format
        self._layout = layout
        self._spool = RowSpool(with_shapes=format.is_binary)
        self.write = self._spool.write

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def finish(self) -> None:
        layout = self._layout()
        names = layout.columns(self._spool.names)
        if self._format.is_binary:
            self._write_arrow(names, layout)
            return
        lines = _Lines(self._output, self._format.compression)
        write_csv(self._spool.rows(), names, "\t" if self._format.container is Container.TSV else ",", lines)
        lines.finish()

    def _write_arrow(self, names: list[str], layout: Layout) -> None:
        from jobs.files.writing.arrow_table import write_arrow
        from jobs.files.writing.arrow_values import column_of, float32_column, known_columns

        shapes = self._spool.shapes
        known = known_columns(layout.types, self._format.container)
        columns = {}
        for name in names:
            shape = shapes.get(name, Shape())
            shape.kinds |= {int} if name in layout.integers else set()
            columns[name] = known.get(name) or column_of(shape)
            if name in layout.float32 and shape.is_list:
                columns[name] = float32_column(shape)
        write_arrow(self._spool.rows(), columns, self._output, self._format.container)
