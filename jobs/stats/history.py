"""Counts of written lines and tokens over a job's whole life, in spans of equal length. The size is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

FIRST_SPAN_SECONDS = 15  # length of the spans of a new job; divides a minute
MAX_SPANS = 1440  # with more spans, all spans become twice as long: a minute at most in the first day of work


class HistorySpan(msgspec.Struct, frozen=True):
    """Lines and tokens that workers wrote in one span of time."""

    at: float  # begin of the span, seconds since the epoch, by the store's clock
    completed: int  # lines
    failed: int  # lines
    output_tokens: int  # output tokens of the completed lines


class History(msgspec.Struct, frozen=True):
    """The spans of a job. A span without a line is left out.

    A line counts in the span in which its result was first written. If a failed line runs again, both results count.
    Results that the store wrote itself, and reused completions, do not count.
    """

    span_seconds: int
    spans: tuple[HistorySpan, ...]  # oldest first


@dataclass
class HistoryCounter:
    """The history of a job in the memory store. `scripts/write.lua` has the same rules."""

    span_seconds: int = FIRST_SPAN_SECONDS
    counts: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # by number of the span since the epoch

    def add(self, now: float, completed: int, failed: int, output_tokens: int) -> None:
        """Count new results of workers."""
        self._add(int(now / self.span_seconds), (completed, failed, output_tokens))
        while len(self.counts) > MAX_SPANS:
            before, self.counts, self.span_seconds = self.counts, {}, 2 * self.span_seconds
            for number, counts in before.items():
                self._add(number // 2, counts)

    def _add(self, number: int, counts: tuple[int, int, int]) -> None:
        completed, failed, output_tokens = self.counts.get(number, (0, 0, 0))
        self.counts[number] = (completed + counts[0], failed + counts[1], output_tokens + counts[2])

    def history(self) -> History:
        """Return the spans so far."""
        return history_of(self.span_seconds, self.counts)


def history_of(span_seconds: int, counts: dict[int, tuple[int, int, int]]) -> History:
    """Return a history. `counts` has completed lines, failed lines and tokens by number of the span since the epoch."""
    spans = (HistorySpan(number * span_seconds, *counts[number]) for number in sorted(counts))
    return History(span_seconds, tuple(spans))
