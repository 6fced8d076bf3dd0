"""Plots of a job's speed as SVG. They need no script, take the colours of the page, and have a table beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import History

WIDTH, HEIGHT = 600, 80  # size of the drawing, in units of the SVG
_MAX_COLUMNS = 120
_MAX_ROWS = 30
# Seconds of a column that people like to read. Longer columns are whole days.
_STEPS = (2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200)
_MINUTE, _DAY = 60, 86_400
_LONG_SECONDS = 1200  # a longer job has columns of a minute at least


@dataclass(frozen=True)
class Column:
    """Figures of a job in one span of time."""

    at: float  # begin of the span, seconds since the epoch
    seconds: float  # length of the span
    tokens: float  # output tokens
    completed: int | None = None  # lines; None if it is unknown
    failed: int | None = None

    @property
    def rate(self) -> float:
        """Mean output tokens per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Mark:
    """A part of the time axis, in units of the drawing."""

    left: float
    width: float


@dataclass(frozen=True)
class Plot:
    """A line of speeds, ready for the template."""

    columns: list[Column]
    peak: float  # tokens/s at the upper edge
    begin: float  # time of the left edge, seconds since the epoch
    end: float  # time of the right edge
    line: str  # points of the SVG polyline
    area: str  # points of the polygon below it
    failures: list[Mark]  # when lines failed

    @property
    def counts_lines(self) -> bool:
        """True if the columns know how many lines finished."""
        return self.columns[0].completed is not None

    @property
    def rows(self) -> list[Column]:
        """The columns of the table: at most `_MAX_ROWS`, each the sum of an equal number of columns."""
        step = -(-len(self.columns) // _MAX_ROWS)
        return [_sum(self.columns[first : first + step]) for first in range(0, len(self.columns), step)]


def plot_of_samples(samples: Sequence[TimelineSample]) -> Plot | None:
    """Return the plot of a job's output tokens per second, summed over its workers. None without two columns.

    Args:
        samples: One sample per worker and second, oldest first. A second without a sample had no throughput.
    """
    if not samples:
        return None
    first, last = samples[0].at, max(sample.at for sample in samples)
    step = _step_of(last - first)
    # The mean per worker, because a column may have one sample more or less than its seconds.
    rates: list[dict[str, list[float]]] = [{} for _ in range(int((last - first) / step) + 1)]
    for sample in samples:
        rates[max(int((sample.at - first) / step), 0)].setdefault(sample.worker_id, []).append(sample.output_throughput)
    sums = [sum(sum(own) / len(own) for own in column.values()) for column in rates]
    return _plot([Column(first + index * step, step, total * step) for index, total in enumerate(sums)])


def plot_of_history(history: History, first_step_at: float, last_line_at: float) -> Plot | None:
    """Return the plot of the output tokens per second over the whole life of a job. None without two columns.

    A token counts when its line is written.

    Args:
        history: What workers wrote.
        first_step_at: When the job began, seconds since the epoch. It lies in the first span or before it.
        last_line_at: When a worker last wrote a line. The last column ends there.
    """
    if not history.spans:
        return None
    first = history.spans[0].at
    seconds = history.spans[-1].at + history.span_seconds - first
    # Long lines end in waves, which columns of seconds would show as noise.
    step = _step_of(seconds, history.span_seconds, at_least=_MINUTE if seconds > _LONG_SECONDS else 0)
    sums = [[0, 0, 0] for _ in range(int((history.spans[-1].at - first) / step) + 1)]
    for span in history.spans:
        column = sums[int((span.at - first) / step)]
        for place, count in enumerate((span.output_tokens, span.completed, span.failed)):
            column[place] += count
    columns = [Column(first + index * step, step, *counts) for index, counts in enumerate(sums)]
    # The job began within the first column, and wrote its last line within the last one. A column that is shorter than
    # half of the others would show chance, not speed.
    columns[0] = _between(columns[0], min(max(first_step_at, first), first + step / 2), first + step)
    last = columns[-1]
    columns[-1] = _between(last, last.at, min(max(last_line_at, last.at + 1), last.at + step))
    if len(columns) > 1 and columns[-1].seconds < step / 2:
        columns[-2:] = [_sum(columns[-2:])]
    return _plot(columns)


def _between(column: Column, begin: float, end: float) -> Column:
    return replace(column, at=begin, seconds=end - begin)


def _step_of(seconds: float, multiple_of: int = 1, at_least: int = 0) -> int:
    """Return the length of a column in seconds, with at most `_MAX_COLUMNS` columns."""
    possible = (step for step in _STEPS if step % multiple_of == 0 and step >= at_least)
    fitting = (step for step in possible if seconds / step <= _MAX_COLUMNS)
    whole = math.lcm(_DAY, multiple_of)
    return next(fitting, whole * math.ceil(seconds / whole / _MAX_COLUMNS))


def _sum(columns: Sequence[Column]) -> Column:
    return Column(
        columns[0].at,
        sum(column.seconds for column in columns),
        sum(column.tokens for column in columns),
        None if columns[0].completed is None else sum(column.completed or 0 for column in columns),
        None if columns[0].failed is None else sum(column.failed or 0 for column in columns),
    )


def _plot(columns: list[Column]) -> Plot | None:
    if len(columns) < 2:
        return None
    begin, end = columns[0].at, columns[-1].at + columns[-1].seconds
    peak = max(column.rate for column in columns)

    def x(at: float) -> float:
        return (at - begin) / (end - begin) * WIDTH

    # A point per column, in its middle. The first and the last one also reach the edges.
    middles = [(x(column.at + column.seconds / 2), column.rate) for column in columns]
    points = [(0.0, columns[0].rate), *middles, (float(WIDTH), columns[-1].rate)]
    line = " ".join(f"{left:.1f},{HEIGHT - rate / (peak or 1.0) * HEIGHT:.1f}" for left, rate in points)
    failures = [Mark(x(column.at), x(column.at + column.seconds) - x(column.at)) for column in columns if column.failed]
    return Plot(columns, peak, begin, end, line, f"0,{HEIGHT} {line} {WIDTH},{HEIGHT}", _joined(failures))


def _joined(marks: list[Mark]) -> list[Mark]:
    """Return marks in which neighbours are one."""
    joined = marks[:1]
    for before, mark in pairwise(marks):
        if mark.left - (before.left + before.width) < 0.01:
            joined[-1] = Mark(joined[-1].left, mark.left + mark.width - joined[-1].left)
        else:
            joined.append(mark)
    return joined


def rate_now(samples: Sequence[TimelineSample], span_seconds: float = 5.0) -> float | None:
    """Return the mean output tokens per second in the last seconds of the samples. None without samples."""
    if not samples:
        return None
    last = max(sample.at for sample in samples)
    recent = [sample for sample in samples if sample.at > last - span_seconds]
    return sum(sample.output_throughput for sample in recent) / span_seconds
