"""Find the lines of a job that have no result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.records.completion import Completion

NAMED_RANGES = 5  # max ranges that a message names; the lines of other ranges are only counted


class MissingLines:
    """Watches a job's completions on their way to a file, and finds the lines without a completion.

    Args:
        total: Number of the job's lines.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = 0  # index of the next expected line
        self._ranges: list[tuple[int, int]] = []  # the first ranges: first and last line, counted from 1
        self.count = 0

    def watch(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        """Pass the completions on, each line at most once. `count` and `str()` are valid after the last completion.

        Args:
            completions: Completions in input order. One that is out of order is stored in another line's place, so it
                is left out, and the other line counts as missing.
        """
        for completion in completions:
            if self._next <= completion.index < self._total:
                self._add(self._next, completion.index)
                self._next = completion.index + 1
                yield completion
        self._add(self._next, self._total)

    def _add(self, first: int, end: int) -> None:
        if first < end:
            self.count += end - first
            self._ranges.append((first + 1, end))
            del self._ranges[NAMED_RANGES:]

    def __str__(self) -> str:
        """Return the missing lines, such as `lines 17 to 32, 40`. Blank lines of the file do not count."""
        names = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in self._ranges]
        more = self.count - sum(last - first + 1 for first, last in self._ranges)
        return f"lines {', '.join(names)}" + (f" and {more:,} more" if more else "")
