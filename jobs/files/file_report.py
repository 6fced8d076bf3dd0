"""What the check of a prompt file found."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import InvalidInput
from jobs.records.job import Format

MAX_LINES_IN_FULL = 20


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be run, and why."""

    number: int  # in the file, from 1
    reason: str

    def __str__(self) -> str:
        return f"line {self.number:,}: {self.reason}"


class BadLines:
    """Collects bad lines in order: the first `MAX_LINES_IN_FULL` whole, the numbers of the rest as ranges."""

    def __init__(self) -> None:
        self.count = 0
        self.in_full: list[BadLine] = []
        self._rest: list[tuple[int, int]] = []  # first and last number of each run of neighbours

    def add(self, number: int, reason: str) -> None:
        """Note the next bad line."""
        self.count += 1
        if len(self.in_full) < MAX_LINES_IN_FULL:
            self.in_full.append(BadLine(number, reason))
        elif self._rest and self._rest[-1][1] == number - 1:
            self._rest[-1] = (self._rest[-1][0], number)
        else:
            self._rest.append((number, number))

    def describe(self) -> str:
        """All of them, one a line; the rest by their numbers."""
        lines = [f"  {line}" for line in self.in_full]
        if self._rest:
            numbers = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in self._rest)
            lines.append(f"  and {self.count - len(self.in_full):,} more: {numbers}")
        return "\n".join(lines)


@dataclass(frozen=True)
class FileReport:
    """A prompt file as the first pass over it found it."""

    name: str  # of the file, for people
    format: Format
    num_lines: int  # not blank, bad ones included
    bad_lines: BadLines
    digest: str  # of the file's bytes, hexadecimal

    def require_valid(self, skip_invalid: bool) -> None:
        """Raise unless the file can be submitted.

        Args:
            skip_invalid: Bad lines are let through, to become `invalid_line` results, if there is a good one, too.

        Raises:
            InvalidInput: The file has no line, a bad one, or (with `skip_invalid`) no good one. The message lists
                every bad line's number.
        """
        bad = self.bad_lines.count
        if self.num_lines == 0:
            raise InvalidInput(f"{self.name} is empty.", "Give a file with one JSON object per line.")
        if bad == 0 or (skip_invalid and bad < self.num_lines):
            return
        some = "the only line is" if self.num_lines == 1 else f"{bad:,} of {self.num_lines:,} lines are"
        hint = "Nothing was stored. Correct the file"
        if bad < self.num_lines:
            hint += ", or use --skip-invalid to run the valid lines and get an error result for each invalid line"
        raise InvalidInput(f"{self.name} cannot be submitted: {some} invalid.\n{self.bad_lines.describe()}", f"{hint}.")
