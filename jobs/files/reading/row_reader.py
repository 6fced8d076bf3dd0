"""Read the rows of one source, whatever its container."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import msgspec

from jobs.errors import InvalidInput
from jobs.files.encoding_advice import advice_for_stream
from jobs.files.reading.bare_prompts import BarePrompts, bare_prompts_of, whole_chat, with_keys
from jobs.files.reading.compressed import MAGIC_BYTES, decompressed
from jobs.files.reading.container import Container, recognise
from jobs.files.reading.csv_rows import csv_rows, header_delimiter, sniff_delimiter
from jobs.files.reading.foreign import refuse_binary, refuse_lines, refuse_text, refuse_zeros
from jobs.files.reading.json_items import HEAD_BYTES, json_items
from jobs.files.reading.raw_lines import RawLines, text_rows
from jobs.files.reading.row import FirstRows, HashedRows, Rows, SourceRow, SourceRows
from jobs.files.reading.row_prompts import PromptOptions, PromptRows, RowPrompts

MAX_LAYERS = 3  # max nested layers of compression
_ENCODED_HERE = {Container.CSV, Container.TSV, Container.PARQUET, Container.ARROW, Container.TEXT}  # others hold JSON


@dataclass(frozen=True)
class ReadingOptions:
    """The user's options for reading a source."""

    container: Container | None = None  # None: recognised from the content
    delimiter: str | None = None  # between the cells of CSV; None: found in the content
    prompts: PromptOptions = PromptOptions()  # noqa: RUF009 - frozen
    limit: int | None = None  # number of rows to read, over all files; None: all


@dataclass(frozen=True)
class RowReader:
    """One source, which can be read several times."""

    name: str  # for messages
    container: Container
    delimiter: str  # between the cells of CSV
    open_again: Callable[[], BinaryIO]  # opens the content at its start, not decompressed
    row_prompts: RowPrompts | None  # None: the rows are lines of prompts already
    bare_prompts: BarePrompts = BarePrompts.NOWHERE

    @classmethod
    def of(
        cls,
        name: str,
        open_again: Callable[[], BinaryIO],
        options: ReadingOptions,
        row_prompts: RowPrompts | None = None,
    ) -> Self:
        """Recognise the container of a source.

        Args:
            name: The source's name for messages. Its ending matters only for plain text and CSV of one column.
            open_again: Opens the source at its start, as a seekable stream.
            options: The user's options.
            row_prompts: Makes prompts of the rows. None to make it of `options`. Files of one job share it, because it
                has a helper process.

        Raises:
            InvalidInput: The source cannot be read, or holds no prompts. The message says what the source is.
                Or the template has a fault of syntax.
        """
        with _opened(name, open_again) as stream:
            head = _read_head(stream, name)
            refuse_binary(head, stream, name)
        container = options.container
        if container is None:
            refuse_text(head, name)
            container = recognise(head, name)
            if container not in (Container.PARQUET, Container.ARROW):
                refuse_zeros(head, name)
            if container is Container.JSONL and options.prompts.template is None:
                refuse_lines(head, name)
        if row_prompts is None and options.prompts.changes_rows:
            row_prompts = RowPrompts(options.prompts)
        bare = bare_prompts_of(head, container, options.prompts.template is not None)
        return cls(name, container, _delimiter(container, head, options), open_again, row_prompts, bare)

    @property
    def is_costly(self) -> bool:
        """True if a pass takes longer than reading checked prompts back. Lines of prompts in JSONL are quick."""
        return self.row_prompts is not None or self.container is not Container.JSONL

    @contextmanager
    def rows(self, limit: int | None = None) -> Iterator[Rows]:
        """Open the source for one pass. The rows are lines of prompts, and valid within the `with` block.

        Args:
            limit: Number of rows to read. None to read all.

        Raises:
            InvalidInput: The source cannot be opened.
        """
        with self._container_rows() as all_rows:
            rows: SourceRows = all_rows if limit is None else FirstRows(all_rows, limit)
            yield (
                rows
                if self.row_prompts is None
                else PromptRows(rows, self.row_prompts, self.container in _ENCODED_HERE)
            )

    def columns(self) -> list[str]:
        """Return the keys of the first row. Empty if there is no row, or the row is no object."""
        with self._container_rows() as rows:
            for _, row in rows:
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    return list(msgspec.json.decode(row, type=dict[str, Any])) if isinstance(row, bytes) else []
                break
        return []

    def id_column(self, default: str) -> str | None:
        """Return the name of the column of ids, which is `default` if the user names none. None if there is none."""
        return default if self.row_prompts is None else self.row_prompts.id_column(default)

    def column_types(self) -> dict[str, Any] | None:
        """Return the `pyarrow.DataType` of each column of a Parquet or Arrow file. None for other containers."""
        if self.container not in (Container.PARQUET, Container.ARROW):
            return None
        from jobs.files.reading.arrow_rows import arrow_types

        with _opened(self.name, self.open_again) as stream, _seekable(stream) as seekable:
            return arrow_types(seekable, self.name)

    def encoding_advice(self) -> str | None:
        """Return how to convert a text that is not UTF-8. None if all of it is UTF-8. Reads the source."""
        with _opened(self.name, self.open_again) as stream:
            return advice_for_stream(stream, self.name)

    @contextmanager
    def _container_rows(self) -> Iterator[RawLines | HashedRows]:
        with _opened(self.name, self.open_again) as stream:
            if self.container is Container.JSONL and self.bare_prompts is BarePrompts.NOWHERE:
                yield RawLines(stream, self.name)
            elif self.container in (Container.PARQUET, Container.ARROW):
                from jobs.files.reading.arrow_rows import arrow_rows

                with _seekable(stream) as seekable:
                    yield HashedRows(arrow_rows(seekable, self.name), self.name)
            else:
                yield HashedRows(self._text_rows(stream), self.name)

    def _text_rows(self, stream: BinaryIO) -> Iterator[SourceRow]:
        match self.container:
            case Container.JSONL:
                return with_keys(RawLines(stream, self.name))
            case Container.JSON if self.bare_prompts is BarePrompts.WHOLE:
                return whole_chat(stream)
            case Container.JSON if self.bare_prompts is BarePrompts.IN_ROWS:
                return with_keys(json_items(stream, self.name))
            case Container.JSON:
                return json_items(stream, self.name)
            case Container.TEXT:
                return text_rows(RawLines(stream, self.name))
            case _:
                return csv_rows(stream, self.name, self.delimiter)


def _delimiter(container: Container, head: bytes, options: ReadingOptions) -> str:
    if options.delimiter is not None:
        return options.delimiter
    if container is Container.TSV:
        return "\t"
    text = head.decode("utf-8-sig", errors="replace") if container is Container.CSV else ""
    return sniff_delimiter(text) or header_delimiter(text)


@contextmanager
def _opened(name: str, open_again: Callable[[], BinaryIO]) -> Iterator[BinaryIO]:
    """Open a source and decompress it, in up to `MAX_LAYERS` layers."""
    with ExitStack() as opened:
        try:
            stream = opened.enter_context(open_again())
            start = stream.read(MAGIC_BYTES)
            stream.seek(0)
            for _ in range(MAX_LAYERS):
                inner = decompressed(stream, start, name)
                if inner is None:
                    break
                stream = opened.enter_context(inner)
                start = inner.peek(MAGIC_BYTES)
        except OSError as error:
            raise InvalidInput(f"{name} cannot be read: {error.strerror}.") from error
        yield stream


def _read_head(stream: BinaryIO, name: str) -> bytes:
    try:
        return stream.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}.") from error


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the stream, or a temporary copy of it if the stream is being decompressed."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy
