"""Lines that an ended job must have a result for, and has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.records.completion import Completion

NAMED_RANGES = 5  # the others are counted


class MissingLines:
    """Sees a job's completions on their way to a file, and finds out which of its lines are not among them.

    Args:
        total: How many lines the job has.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = 0  # the index of the line that is due
        self._ranges: list[tuple[int, int]] = []  # the first few: first and last line, counted from 1
        self.count = 0

    def watch(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        """Pass the completions on, each line at most once. All of them must have passed before the rest is asked.

        Args:
            completions: In input order. A completion that is out of order was stored in another line's place: it is
                left out, so that the line whose place it has is missing.
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
        """`lines 17 to 32, 40`, where blank lines of the file do not count."""
        names = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in self._ranges]
        more = self.count - sum(last - first + 1 for first, last in self._ranges)
        return f"lines {', '.join(names)}" + (f" and {more:,} more" if more else "")
