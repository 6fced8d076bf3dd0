"""Check every line of prompt files in constant memory, and return the prompts afterwards.

The prompts are made by a second pass over the files. Where that takes long, the check keeps them on disk instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import BinaryIO, Self

from jobs.errors import InvalidInput
from jobs.files.encoding_advice import NOT_UTF8
from jobs.files.file_pass import FilePass
from jobs.files.file_report import BadLines, FileRefused, FileReport
from jobs.files.formats.line_decoder import LineRules
from jobs.files.prompt_spool import PromptSpool
from jobs.files.reading.container import Container
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.files.remote.kept_blocks import KeptSpace
from jobs.files.result_types import result_types
from jobs.files.sources.source import open_source
from jobs.files.sources.source_names import source_names
from jobs.records.prompt import Prompt
from jobs.stores.packing import PackedPrompts

_FIRST_LINES = 100


@dataclass(frozen=True)
class CheckedFile:
    """A prompt file that can be submitted. Made by `PromptFile.check`. It is usable until the file is closed.

    Each call of `prompts` iterates over the prompts in order. Unless the check has kept them, it makes another pass
    over the file. That pass raises `InvalidInput` if the file has changed since the check, after the last line at the
    latest.

    `packed` returns the prompts in shards of a number of lines, if the check has kept them in such shards, else None.
    """

    report: FileReport
    prompts: Callable[[], Iterator[Prompt]]
    packed: Callable[[int], Iterator[PackedPrompts] | None] = lambda _: None


class PromptFile:
    """Prompts in the native or the OpenAI Batch format, in any container. Made by `PromptFile.open`.

    Several files count as one, in their order. It is a context manager: the end of the `with` block removes the copy of
    standard input.

    Args:
        paths: Paths of the files.
        readers: One reader of rows per file.
        close: Frees the files' resources.
        limit: Number of lines after which the prompts end. None to read all.
        version: Returns a value that differs once a file has changed. Files never change if it is always the same.
    """

    def __init__(
        self,
        paths: Sequence[str],
        readers: Sequence[RowReader],
        close: Callable[[], None],
        limit: int | None = None,
        version: Callable[[], object] = lambda: None,
    ) -> None:
        self.paths = tuple(paths)  # as opened; `-` is standard input
        self.names = tuple(reader.name for reader in readers)  # for messages
        self.name = _name_of(self.names)  # for messages and for the job
        self._readers = tuple(readers)
        self._close = close
        self._limit = limit
        self._version = version
        self._spool: PromptSpool | None = None

    @classmethod
    def open(cls, said: str | Sequence[str], stdin: BinaryIO, options: ReadingOptions | None = None) -> Self:
        """Open files, or `stdin` for the path `-`, and recognise their containers.

        Args:
            said: A path, or several. A path may be a pattern such as `more/*.csv` (`source_names`).
            stdin: Standard input. It is read only for the path `-`.
            options: How to read the files, as far as the user says.

        Raises:
            InvalidInput: A file is missing, a directory, or not readable, or it holds no prompts. Or a pattern matches
                no file, or a file is named twice.
        """
        options = options or ReadingOptions()
        paths = source_names([said] if isinstance(said, str) else said)
        readers: list[RowReader] = []
        versions: list[Callable[[], object]] = []
        with ExitStack() as opened:
            space = opened.enter_context(KeptSpace())
            for path in paths:
                source = open_source(path, stdin, space)
                opened.callback(source.close)
                versions.append(source.version)
                row_prompts = readers[0].row_prompts if readers else None
                readers.append(RowReader.of(source.name, source.open_again, options, row_prompts))
            close = opened.pop_all().close
        return cls(paths, readers, close, options.limit, lambda: [version() for version in versions])

    @property
    def containers(self) -> list[Container]:
        """Formats of the files that hold the rows, each once, in the files' order."""
        return list(dict.fromkeys(reader.container for reader in self._readers))

    def columns(self) -> list[str]:
        """Return the keys of the first file's first row, before a template is applied. Empty if it is no object."""
        return self._readers[0].columns()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spool is not None:
            self._spool.close()
        self._close()

    def check(
        self,
        rules: LineRules = LineRules(),  # noqa: B008 - frozen
        skip_invalid: bool = False,
        keep: bool = False,
    ) -> CheckedFile:
        """Make the first pass: decode and check every line.

        Args:
            rules: What the lines are checked against.
            skip_invalid: True to accept bad lines: `CheckedFile.prompts` returns them with `invalid` set.
            keep: True to keep the prompts on disk, if making them again takes longer. Say so if they are needed.

        Raises:
            InvalidInput: The file cannot be submitted (`FileReport.require_valid`). If the template fails on each of
                the first lines, no others are read.
        """
        lines = FilePass(self._readers, rules, self._limit)
        version = self._version()
        spool = self._new_spool() if keep else None
        num_lines, bad_lines = 0, BadLines(lines.places)
        for number, prompt in lines:
            num_lines += 1
            if spool is not None:
                spool.add(prompt)
            if prompt.invalid is not None:
                bad_lines.add(number, prompt.invalid)
                if num_lines == bad_lines.count == _FIRST_LINES and not skip_invalid:
                    bad_lines.refuse_template(self.name)
        decoder = lines.decoder
        report = FileReport(
            self.name,
            decoder.format,
            num_lines,
            bad_lines,
            lines.digest,
            decoder.notes,
            num_files=len(self._readers),
            column_types=result_types(self._readers, decoder.format),
        )
        self._require_valid(report, skip_invalid)
        if spool is not None and spool.finish() and self._version() == version:
            return CheckedFile(report, spool.prompts, spool.packed)
        return CheckedFile(
            report,
            lambda: self._prompts(report, lines.digests, FilePass(self._readers, rules, self._limit), skip_invalid),
        )

    def _require_valid(self, report: FileReport, skip_invalid: bool) -> None:
        """Raise as `FileReport.require_valid` does. If a line is not UTF-8, the error says how to convert its file."""
        try:
            report.require_valid(skip_invalid)
        except FileRefused as refusal:
            if NOT_UTF8 in refusal.message:
                advice = next(filter(None, (reader.encoding_advice() for reader in self._readers)), "")
                raise FileRefused(refusal.message, f"{refusal.hint} {advice}".strip()) from None
            raise

    def faults(self, rules: LineRules) -> Iterator[tuple[str | None, int, list[str]]]:
        """Make another pass, and iterate over the bad lines: file, number in the file, faults.

        The file is None if there is only one.

        Raises:
            InvalidInput: A file cannot be read.
        """
        lines = FilePass(self._readers, rules, self._limit)
        for number, prompt in lines:
            if prompt.invalid is not None:
                file, in_file = (None, number) if lines.places is None else lines.places.of(number)
                yield file, in_file, prompt.invalid.split("\n")

    def first_model(self) -> str | None:
        """Return the model that the first lines name, or None. Raises `InvalidInput` if a file cannot be read."""
        lines = FilePass(self._readers, LineRules())
        for _ in islice(lines, _FIRST_LINES):
            if lines.decoder.notes.models:
                return next(iter(lines.decoder.notes.models))
        return None

    def _new_spool(self) -> PromptSpool | None:
        """Return a spool for the prompts of one check. None if another pass over the files costs no more."""
        if not any(reader.is_costly for reader in self._readers):
            return None
        if self._spool is not None:
            self._spool.close()
        self._spool = PromptSpool()
        return self._spool

    def _prompts(
        self, report: FileReport, digests: Sequence[str], lines: FilePass, skip_invalid: bool
    ) -> Iterator[Prompt]:
        """Make the second pass. Raises `InvalidInput` if a file has changed since `report` was made."""
        for _, prompt in lines:
            if prompt.index >= report.num_lines or (prompt.invalid is not None and not skip_invalid):
                raise _changed(lines.file)
            yield prompt
        for reader, before, now in zip(self._readers, digests, lines.digests, strict=True):
            if now != before:
                raise _changed(reader.name)


def _name_of(files: Sequence[str]) -> str:
    """Return one name for files: `a.jsonl`, or `a.jsonl and 2 more files`."""
    more = len(files) - 1
    return f"{files[0]} and {more:,} more file{'s' if more > 1 else ''}" if more else files[0]


def _changed(name: str) -> InvalidInput:
    return InvalidInput(f"{name} changed while it was being read.", "Submit it again once it is complete.")
