"""Where a command's results go."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from jobs.errors import OutputNotWritable
from jobs.job import Job
from jobs.output_file import OutputFile, check_writable
from jobs.results_file import ResultCounts, write_results
from jobs.stats import JobStats
from jobs.stores.protocol import JobStore


@dataclass(frozen=True)
class ResultTarget:
    """A results file, or standard output; and maybe files for failed lines and for the job's statistics."""

    output: Path | None  # None: standard output
    errors: Path | None
    stats: Path | None = None

    @classmethod
    def of_options(cls, output: str | None, errors: str | None, stats: str | None = None) -> Self:
        """What `-o`, `--errors` and `--stats` ask for, checked early: hours of work must not end at a missing folder.

        Raises:
            OutputNotWritable: One of the files cannot be written.
        """
        target = cls(
            output=Path(output) if output not in (None, "-") else None,
            errors=Path(errors) if errors else None,
            stats=Path(stats) if stats else None,
        )
        for path in (target.output, target.errors, target.stats):
            if path is not None:
                check_writable(path)
        return target

    def write(self, store: JobStore, job: Job, partial: bool = False) -> ResultCounts:
        """Write what the store has of the job's results, in input order.

        Args:
            partial: Write what there is, even if the job has ended and lines of it are missing.

        Raises:
            ResultsMissing: The job has ended, and lines of it are missing. No file has changed then.
            OutputNotWritable: The disk is full, say.
            BrokenPipeError: Nobody reads standard output any more.
        """
        completions = store.results(job.id)
        if self.output is not None:
            return write_results(completions, job, self.output, self.errors, partial)
        try:
            counts = write_results(completions, job, sys.stdout.buffer, self.errors, partial)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputNotWritable(f"Standard output cannot be written: {error.strerror}.") from error
        return counts

    def write_stats(self, stats: JobStats) -> None:
        """Write a job's statistics as `status --json` prints them, if a file is named for them.

        Raises:
            OutputNotWritable: The disk is full, say.
        """
        if self.stats is not None:
            with OutputFile(self.stats) as file:
                file.write(msgspec.json.encode(stats) + b"\n")
