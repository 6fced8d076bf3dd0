"""Read a prompt file twice in constant memory: first to check every line, then to return the prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import BinaryIO, Self

from jobs.errors import InvalidInput
from jobs.files.file_report import BadLines, FileReport
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.reading.container import Container
from jobs.files.reading.row import RefusedRow, Rows, TemplatedRow
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.files.reading.source import open_source
from jobs.records.prompt import Prompt

_FIRST_LINES = 100


@dataclass(frozen=True)
class CheckedFile:
    """A prompt file that can be submitted. Made by `PromptFile.check`. It is usable until the file is closed.

    Each call of `prompts` makes another pass over the file and iterates over its prompts in order. It raises
    `InvalidInput` if the file has changed since the check, after the last line at the latest.
    """

    report: FileReport
    prompts: Callable[[], Iterator[Prompt]]


class PromptFile:
    """Prompts in the native or the OpenAI Batch format, in any container. Made by `PromptFile.open`.

    It is a context manager: the end of the `with` block removes the copy of standard input.

    Args:
        reader: Reader of the file's rows.
        close: Frees the file's resources.
    """

    def __init__(self, reader: RowReader, close: Callable[[], None]) -> None:
        self.name = reader.name  # for messages and for the job
        self._reader = reader
        self._close = close

    @classmethod
    def open(cls, path: str, stdin: BinaryIO, options: ReadingOptions | None = None) -> Self:
        """Open a file, or `stdin` for the path `-`, and recognise its container.

        Args:
            path: Path of the file.
            stdin: Standard input. It is read only for the path `-`.
            options: How to read the file, as far as the user says.

        Raises:
            InvalidInput: The file is missing, a directory, or not readable, or it holds no prompts.
        """
        source = open_source(path, stdin)
        try:
            return cls(RowReader.of(source.name, source.open_again, options or ReadingOptions()), source.close)
        except BaseException:
            source.close()
            raise

    @property
    def container(self) -> Container:
        """Format of the file that holds the rows."""
        return self._reader.container

    def columns(self) -> list[str]:
        """Return the keys of the file's first row, before a template is applied. Empty if that row is no object."""
        return self._reader.columns()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def check(self, rules: LineRules = LineRules(), skip_invalid: bool = False) -> CheckedFile:  # noqa: B008 - frozen
        """Make the first pass: decode and check every line, and keep none.

        Args:
            rules: What the lines are checked against.
            skip_invalid: True to accept bad lines: `CheckedFile.prompts` returns them with `invalid` set.

        Raises:
            InvalidInput: The file cannot be submitted (`FileReport.require_valid`).
        """
        decoder = LineDecoder(rules)
        num_lines, bad_lines = 0, BadLines()
        with self._reader.rows() as lines:
            for number, prompt in _decoded(lines, decoder):
                num_lines += 1
                if prompt.invalid is not None:
                    bad_lines.add(number, prompt.invalid)
        report = FileReport(self.name, decoder.format, num_lines, bad_lines, lines.digest, decoder.notes)
        report.require_valid(skip_invalid)
        return CheckedFile(report, lambda: self._prompts(report, LineDecoder(rules), skip_invalid))

    def faults(self, rules: LineRules) -> Iterator[tuple[int, list[str]]]:
        """Make another pass, and iterate over the bad lines: number in the file, faults.

        Raises:
            InvalidInput: The file cannot be read.
        """
        with self._reader.rows() as rows:
            for number, prompt in _decoded(rows, LineDecoder(rules)):
                if prompt.invalid is not None:
                    yield number, prompt.invalid.split("\n")

    def first_model(self) -> str | None:
        """Return the model that the first lines name, or None. Raises `InvalidInput` if the file cannot be read."""
        decoder = LineDecoder()
        with self._reader.rows() as rows:
            for _ in islice(_decoded(rows, decoder), _FIRST_LINES):
                if decoder.notes.models:
                    return next(iter(decoder.notes.models))
        return None

    def _prompts(self, report: FileReport, decoder: LineDecoder, skip_invalid: bool) -> Iterator[Prompt]:
        """Make the second pass. Raises `InvalidInput` if the file has changed since `report` was made."""
        with self._reader.rows() as lines:
            for _, prompt in _decoded(lines, decoder):
                if prompt.index >= report.num_lines or (prompt.invalid is not None and not skip_invalid):
                    raise self._changed()
                yield prompt
        if lines.digest != report.digest:
            raise self._changed()

    def _changed(self) -> InvalidInput:
        return InvalidInput(f"{self.name} changed while it was being read.", "Submit it again once it is complete.")


def _decoded(rows: Rows, decoder: LineDecoder) -> Iterator[tuple[int, Prompt]]:
    """Iterate over (row's number in the source, prompt)."""
    for index, (number, row) in enumerate(rows):
        if isinstance(row, RefusedRow):
            yield number, decoder.refused(index, number, row.reason)
        elif isinstance(row, TemplatedRow):
            yield number, decoder.with_columns(decoder.decode(row.line, index, number), row.columns, row.row)
        else:
            yield number, decoder.decode(row, index, number)
