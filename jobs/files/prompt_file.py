"""Read a prompt file twice in constant memory: first to check every line, then to return the prompts."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from jobs.errors import InvalidInput
from jobs.files.file_report import BadLines, FileReport
from jobs.files.formats.line_decoder import LineDecoder, LinesBefore
from jobs.files.raw_lines import MAX_LINE_BYTES, RawLines
from jobs.harmless import unicode_text
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt

_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class CheckedFile:
    """A prompt file that can be submitted. Made by `PromptFile.check`. It is usable until the file is closed.

    Each call of `prompts` makes another pass over the file and iterates over its prompts in order. It raises
    `InvalidInput` if the file has changed since the check, after the last line at the latest.
    """

    report: FileReport
    prompts: Callable[[], Iterator[Prompt]]


class PromptFile:
    """A JSONL file in the native or the OpenAI Batch format. Made by `PromptFile.open`.

    It is a context manager: the end of the `with` block removes the copy of standard input.

    Args:
        name: The file's name for messages and for the job.
        open_again: Opens the file at its start. Called once per pass.
        close: Frees the file's resources.
    """

    def __init__(self, name: str, open_again: Callable[[], BinaryIO], close: Callable[[], None]) -> None:
        self.name = name
        self._open_again = open_again
        self._close = close

    @classmethod
    def open(cls, path: str, stdin: BinaryIO) -> Self:
        """Open a file, or `stdin` for the path `-`.

        Standard input and pipes can be read only once, so they are copied to an unnamed temporary file first.

        Raises:
            InvalidInput: The file is missing, a directory, or not readable, or there is no room for the copy.
        """
        if path == "-":
            return cls._copy("standard input", stdin)
        try:
            mode = Path(path).stat().st_mode
            if stat.S_ISDIR(mode):
                raise InvalidInput(f"{path} is a directory, not a file of prompts.")
            stream = _open(path)
        except FileNotFoundError:
            raise InvalidInput(f"There is no file {path}.", "Give a JSONL file, or - for standard input.") from None
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
        name = unicode_text(path)
        with stream:
            if not stat.S_ISREG(mode):
                return cls._copy(name, stream)
        return cls(name, lambda: _open(path), lambda: None)

    @classmethod
    def _copy(cls, name: str, source: BinaryIO) -> Self:
        copy = _copy_of(name, source)

        def open_again() -> BinaryIO:
            copy.seek(0)
            return os.fdopen(os.dup(copy.fileno()), "rb", buffering=_BUFFER_BYTES)

        return cls(name, open_again, copy.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def check(
        self,
        card: ModelCard | None = None,
        model: str | None = None,
        skip_invalid: bool = False,
        after: LinesBefore | None = None,
    ) -> CheckedFile:
        """Make the first pass: decode and check every line, and keep none.

        Args:
            card: Facts of the model, to check lines against. None if unknown.
            model: The job's model, which OpenAI lines must name. None to accept any model.
            skip_invalid: True to accept bad lines: `CheckedFile.prompts` returns them with `invalid` set.
            after: Lines of the job to which these lines are added. None if the file becomes a new job.

        Raises:
            InvalidInput: The file cannot be submitted (`FileReport.require_valid`).
        """

        def new_decoder() -> LineDecoder:
            return LineDecoder(model, card, after)

        decoder = new_decoder()
        num_lines, bad_lines = 0, BadLines()
        with self._stream() as stream:
            lines = RawLines(stream, self.name)
            for number, prompt in _decoded(lines, decoder):
                num_lines += 1
                if prompt.invalid is not None:
                    bad_lines.add(number, prompt.invalid)
        report = FileReport(self.name, decoder.format, num_lines, bad_lines, lines.digest)
        report.require_valid(skip_invalid)
        return CheckedFile(report, lambda: self._prompts(report, new_decoder(), skip_invalid))

    def _prompts(self, report: FileReport, decoder: LineDecoder, skip_invalid: bool) -> Iterator[Prompt]:
        """Make the second pass. Raises `InvalidInput` if the file has changed since `report` was made."""
        with self._stream() as stream:
            lines = RawLines(stream, self.name)
            for _, prompt in _decoded(lines, decoder):
                if prompt.index >= report.num_lines or (prompt.invalid is not None and not skip_invalid):
                    raise self._changed()
                yield prompt
        if lines.digest != report.digest:
            raise self._changed()

    def _stream(self) -> BinaryIO:
        try:
            return self._open_again()
        except OSError as error:
            raise InvalidInput(f"{self.name} cannot be read: {error.strerror}.") from error

    def _changed(self) -> InvalidInput:
        return InvalidInput(f"{self.name} changed while it was being read.", "Submit it again once it is complete.")


def _copy_of(name: str, source: BinaryIO) -> BinaryIO:
    try:
        with ExitStack() as opened:
            copy = opened.enter_context(tempfile.TemporaryFile())
            while piece := _read(name, source):
                copy.write(piece)
            opened.pop_all()  # the copy outlives this function
    except OSError as error:
        raise InvalidInput(
            f"{name} cannot be copied to a temporary file: {error.strerror}.",
            "Set TMPDIR to a folder with enough space.",
        ) from error
    return copy


def _read(name: str, source: BinaryIO) -> bytes:
    try:
        return source.read(_BUFFER_BYTES)
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}.", "Give a JSONL file.") from error


def _open(path: str) -> BinaryIO:
    return Path(path).open("rb", buffering=_BUFFER_BYTES)


def _decoded(lines: RawLines, decoder: LineDecoder) -> Iterator[tuple[int, Prompt]]:
    """Iterate over (line number in the file, prompt)."""
    for index, (number, line) in enumerate(lines):
        if line is None:
            too_long = f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB, the maximum length"
            yield number, decoder.refused(index, number, too_long)
        else:
            yield number, decoder.decode(line, index, number)
