"""The destination of a command's results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Self

import msgspec

from cli.standard_streams import check_standard_output
from jobs.errors import InvalidInput, OutputNotWritable
from jobs.files.results.kept_columns import KeptColumns
from jobs.files.results.results_file import ResultCounts, ResultStyle, default_errors, write_results
from jobs.files.writing.destination import Destination, LocalFile, destination_of, place_of_source
from jobs.files.writing.file_format import file_format
from jobs.records.job import Job
from jobs.stats.stats import JobStats
from jobs.stores.protocol import JobStore

_OVERWRITE_HINT = "Name another file, or use --overwrite to replace the prompts with their results."


@dataclass(frozen=True)
class ResultTarget:
    """A results file or standard output, with optional files for failed lines and for the job's statistics."""

    output: Destination | None  # None: standard output
    errors: Destination | None
    stats: Destination | None = None
    style: ResultStyle = ResultStyle()  # noqa: RUF009 - frozen

    @classmethod
    def of_options(cls, style: ResultStyle, output: str | None, errors: str | None, stats: str | None = None) -> Self:
        """Return the target of `-o`, `--errors` and `--stats`.

        The check comes early, because hours of work must not end at a missing folder.

        Raises:
            InvalidInput: Two of the files are the same, or a file's format cannot be written.
            OutputNotWritable: One of the files cannot be written, or standard output is closed.
        """
        target = cls(
            output=None if output is None or output == "-" else destination_of(output),
            errors=destination_of(errors) if errors else None,
            stats=destination_of(stats) if stats else None,
            style=style,
        )
        target._check_formats()
        if target.output is None:
            check_standard_output()
        for said in (target.output, target.errors, target.stats):
            if said is not None:
                said.check()
        named = target._named()
        for (option, place), (other_option, other) in combinations(named.items(), 2):
            if place.is_same(other):
                raise InvalidInput(
                    f"{option} and {other_option} are the same file, {place.name}.", "Name a different file for each."
                )
        return target

    def _check_formats(self) -> None:
        format = self.style.format_of(self.output)
        if self.output is None and format.is_binary and sys.stdout.isatty():
            raise InvalidInput(f"A terminal cannot show {format.container} files.", "Name a file with -o.")
        if self.errors is not None:
            file_format(self.errors.name)

    def spare(self, prompts: Iterable[str], overwrite: bool) -> None:
        """Raise if this target would replace a prompt file.

        Args:
            prompts: Paths of the prompt files, or - for standard input.
            overwrite: True if -o may replace a prompt file, which has been read by then.

        Raises:
            InvalidInput: The target would replace the prompts.
        """
        for path in prompts:
            self._spare(path, overwrite)

    def _spare(self, prompts: str, overwrite: bool) -> None:
        source = place_of_source(prompts)
        if source is None:
            return
        if self.output is None and source.is_same(LocalFile(Path("/dev/stdout"))):
            raise InvalidInput(
                f"Standard output would overwrite the prompt file {prompts}.", "Name a file for the results with -o."
            )
        for option, place in self._named().items():
            if place.is_same(source) and not (overwrite and option == "-o"):
                raise InvalidInput(
                    f"{option} would overwrite the prompt file {prompts}.",
                    _OVERWRITE_HINT if option == "-o" else "Name another file.",
                )

    def _named(self) -> dict[str, Destination]:
        """Return the files that this target may write, by option."""
        places: dict[str, Destination | None] = {"-o": self.output, "--errors": self.errors, "--stats": self.stats}
        if self.output is not None and self.errors is None:
            places["--errors, by default,"] = default_errors(self.output)
        return {option: place for option, place in places.items() if place is not None}

    def write(self, store: JobStore, job: Job, partial: bool = False) -> ResultCounts:
        """Write the job's results in input order.

        Args:
            partial: Write the available results, even if an ended job lacks lines.

        Raises:
            ResultsMissing: An ended job lacks results of some lines. No file has changed then.
            OutputNotWritable: An output cannot be written, for example because the disk is full.
            BrokenPipeError: The reader has closed standard output.
        """
        completions = store.jobs.results(job.id)
        has_input = job.spec.has_columns or job.spec.added_lines or self.style.has_rows(self.output, self.errors)
        input_of = KeptColumns(store, job).of if has_input else None
        if self.output is not None:
            return write_results(completions, job, self.output, self.errors, partial, input_of, self.style)
        try:
            counts = write_results(completions, job, sys.stdout.buffer, self.errors, partial, input_of, self.style)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputNotWritable(f"Standard output cannot be written: {error.strerror}.") from error
        return counts

    def write_stats(self, stats: JobStats) -> None:
        """Write a job's statistics in the format of `status --json`, if the target has a file for them.

        Raises:
            OutputNotWritable: The file cannot be written, for example because the disk is full.
        """
        if self.stats is not None:
            with self.stats.open() as file:
                file.write(msgspec.json.encode(stats) + b"\n")
