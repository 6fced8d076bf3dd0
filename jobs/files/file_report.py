"""Result of the check of a prompt file."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import InvalidInput
from jobs.records.job import Format

MAX_LINES_IN_FULL = 20


@dataclass(frozen=True)
class BadLine:
    """A line that cannot run, and the reason."""

    number: int  # line number in the file, from 1
    reason: str

    def __str__(self) -> str:
        return f"line {self.number:,}: {self.reason}"


class BadLines:
    """A file's bad lines, in order: the first `MAX_LINES_IN_FULL` with their reasons, the rest as ranges of numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.in_full: list[BadLine] = []
        self._rest: list[tuple[int, int]] = []  # first and last number of each range

    def add(self, number: int, reason: str) -> None:
        """Add the next bad line."""
        self.count += 1
        if len(self.in_full) < MAX_LINES_IN_FULL:
            self.in_full.append(BadLine(number, reason))
        elif self._rest and self._rest[-1][1] == number - 1:
            self._rest[-1] = (self._rest[-1][0], number)
        else:
            self._rest.append((number, number))

    def describe(self) -> str:
        """Return a text with one bad line per text line. The last line gives the numbers of the rest."""
        lines = [f"  {line}" for line in self.in_full]
        if self._rest:
            numbers = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in self._rest)
            lines.append(f"  and {self.count - len(self.in_full):,} more: {numbers}")
        return "\n".join(lines)


@dataclass(frozen=True)
class FileReport:
    """Result of the first pass over a prompt file."""

    name: str  # the file's name for messages
    format: Format
    num_lines: int  # number of lines that are not blank, including bad ones
    bad_lines: BadLines
    digest: str  # hash of the file's bytes, hexadecimal

    def require_valid(self, skip_invalid: bool) -> None:
        """Raise unless the file can be submitted.

        Args:
            skip_invalid: True to accept bad lines if there is at least one good line. Bad lines become `invalid_line`
                results.

        Raises:
            InvalidInput: The file has no line, or a bad line (with `skip_invalid`: no good line). The message lists the
                number of each bad line.
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
