"""Where a command's results go."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobs.errors import OutputNotWritable
from jobs.job import Job
from jobs.output_file import check_writable
from jobs.results_file import ResultCounts, write_results
from jobs.stores.protocol import JobStore


@dataclass(frozen=True)
class ResultTarget:
    """A results file, or standard output; and maybe a file for failed lines."""

    output: Path | None  # None: standard output
    errors: Path | None

    @classmethod
    def of_options(cls, output: str | None, errors: str | None) -> Self:
        """What `-o` and `--errors` ask for, checked early: hours of work must not end at a missing folder.

        Raises:
            OutputNotWritable: One of the files cannot be written.
        """
        target = cls(Path(output) if output not in (None, "-") else None, Path(errors) if errors else None)
        for path in (target.output, target.errors):
            if path is not None:
                check_writable(path)
        return target

    def write(self, store: JobStore, job: Job) -> ResultCounts:
        """Write what the store has of the job's results, in input order.

        Raises:
            OutputNotWritable: The disk is full, say.
            BrokenPipeError: Nobody reads standard output any more.
        """
        completions = store.results(job.id)
        if self.output is not None:
            return write_results(completions, job, self.output, self.errors)
        try:
            counts = write_results(completions, job, sys.stdout.buffer, self.errors)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputNotWritable(f"Standard output cannot be written: {error.strerror}.") from error
        return counts
