"""Rows of Python as a file of prompts, so that they go through the reader that files go through."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from typing import IO, Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import msgspec

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.container import Container
from jobs.files.reading.row_reader import ReadingOptions, RowReader

_BUFFER_BYTES = 2**20
_ROWS_PER_BATCH = 1024
_ROW_HELP = 'Give dicts, such as {"prompt": "What is 2 + 3?"}, or the path of a file.'


@runtime_checkable
class ArrowTable(Protocol):
    """A table of any library that speaks Arrow's C interface: pandas, Polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the table as a stream of record batches."""


Path: TypeAlias = "str | os.PathLike[str]"
Row: TypeAlias = "Mapping[str, Any] | Sequence[Mapping[str, Any]]"  # a list is a list of messages
Rows: TypeAlias = "Path | Sequence[Path] | ArrowTable | Iterable[Row]"


def open_rows(rows: Rows, options: ReadingOptions) -> PromptFile:
    """Return the rows as a file of prompts. Close it by a `with` block.

    A path or several are opened, also patterns such as `more/*.csv`. Other rows are written to an unnamed temporary
    file first. A file is read twice, but a generator can be read only once, and a list can change meanwhile. Memory use
    does not grow with the number of rows.

    Raises:
        InvalidInput: There is no such file, a row is no dict and no list, or a value is neither JSON nor a date.
    """
    if isinstance(rows, str | os.PathLike):
        return PromptFile.open(os.fspath(rows), BytesIO(), options)
    if isinstance(rows, list | tuple) and rows and isinstance(rows[0], str | os.PathLike):
        return _open_files([os.fspath(path) for path in rows], options)
    name = f"the {type(rows).__name__}"
    with ExitStack() as opened:
        copy = opened.enter_context(tempfile.TemporaryFile(buffering=_BUFFER_BYTES))
        if isinstance(rows, ArrowTable) or _is_dataset(rows):
            _write_arrow(rows, copy, name)
            container = Container.ARROW
        else:
            _write_lines(rows, copy)
            container = Container.JSONL
        copy.flush()

        def open_again() -> BinaryIO:
            copy.seek(0)
            return os.fdopen(os.dup(copy.fileno()), "rb", buffering=_BUFFER_BYTES)

        reader = RowReader.of(name, open_again, replace(options, container=container))
        return PromptFile([name], [reader], opened.pop_all().close, options.limit)


def _open_files(paths: Sequence[str], options: ReadingOptions) -> PromptFile:
    try:
        return PromptFile.open(paths, BytesIO(), options)
    except InvalidInput as error:
        hint = 'A list of texts names files. A prompt is a dict, such as {"prompt": "What is 2 + 3?"}.'
        raise InvalidInput(error.message, f"{error.hint} {hint}".strip()) from None


def _write_lines(rows: object, target: IO[bytes]) -> None:
    if isinstance(rows, Mapping):
        raise InvalidInput(f"The rows are one {type(rows).__name__}.", "Give a list of dicts.")
    if not isinstance(rows, Iterable):
        raise InvalidInput(f"The rows are of type {type(rows).__name__}.", _ROW_HELP)
    encode = msgspec.json.Encoder(enc_hook=_plain).encode
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping | list):
            raise InvalidInput(f"Row {number:,} is of type {type(row).__name__}, not a dict.", _ROW_HELP)
        try:
            target.write(encode(row if isinstance(row, dict | list) else dict(row)) + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"Row {number:,} cannot become JSON: {error}.", _ROW_HELP) from error


def _plain(value: object) -> object:
    """Return a value that msgspec can encode: numpy's numbers and arrays have a method for it."""
    if isinstance(value, Mapping):
        return dict(value)
    to_python = getattr(value, "tolist", None)
    if to_python is None:
        raise TypeError(f"it holds a value of type {type(value).__name__}")
    return to_python()


def _is_dataset(rows: object) -> bool:
    """Return whether the rows are a `datasets.Dataset`. Does not import that library: whoever made the rows has."""
    library = sys.modules.get("datasets")
    if library is not None and isinstance(rows, library.DatasetDict | library.IterableDatasetDict):
        names = ", ".join(map(str, rows))
        raise InvalidInput(f"The rows are a DatasetDict with the splits {names}.", "Choose one, such as rows['train'].")
    return library is not None and isinstance(rows, library.Dataset)


def _write_arrow(rows: Any, target: IO[bytes], name: str) -> None:  # noqa: ANN401 - pyarrow comes without types
    try:
        import pyarrow
    except ImportError:
        raise InvalidInput(
            f"Reading {name} needs pyarrow, which is not installed.", "Install it: pip install 'qwen-batch[tables]'"
        ) from None
    try:
        batches = _batches(pyarrow, rows)
        first = next(batches, None)
        if first is None:
            raise InvalidInput(f"{name} is empty.", "Give at least one row.")
        with pyarrow.ipc.new_stream(target, first.schema) as stream:
            stream.write(first)
            for batch in batches:
                stream.write(batch)
    except pyarrow.ArrowException as error:
        raise InvalidInput(f"{name} cannot become an Arrow table: {error}.", "Give dicts instead.") from error


def _batches(pyarrow: Any, rows: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield record batches, without the index that pandas adds as a column without a name."""
    if _is_dataset(rows):
        for table in rows.with_format("arrow").iter(_ROWS_PER_BATCH):
            yield from table.to_batches()
        return
    for batch in pyarrow.RecordBatchReader.from_stream(rows):
        yield batch.select([each for each in batch.schema.names if not each.startswith("__index_level_")])
