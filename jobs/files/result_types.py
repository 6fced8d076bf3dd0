"""Find the Arrow types that the columns of a job's results have, if its source is a table with types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.files.reading.row_reader import RowReader
from jobs.files.results.flat_rows import FlatRows
from jobs.records.job import Format


def result_types(readers: Sequence[RowReader], format: Format) -> bytes | None:
    """Return the types of the sources' columns, under their names in a table of results (`recorded_types`).

    A whole number that is an id keeps its type, too, so that results can be joined to the source. Returns None if a
    source is neither Parquet nor Arrow, if the sources differ, or if there are too many columns.

    Args:
        readers: Readers of the job's sources, at least one.
        format: Format of the job's lines.

    Raises:
        InvalidInput: A source cannot be read.
    """
    types = readers[0].column_types()
    if types is None or any(reader.column_types() != types for reader in readers[1:]):
        return None
    from jobs.files.writing.arrow_values import id_type, recorded_types

    rows = FlatRows(format)
    id_column = readers[0].id_column(rows.id_name)
    fields: list[tuple[str, Any]] = []
    for name, kind in types.items():
        if name != id_column:
            fields.append((rows.column_name(name, len(readers) > 1), kind))
        elif (kept := id_type(kind)) is not None:
            fields.append((rows.id_name, kept))
    return recorded_types(fields)
