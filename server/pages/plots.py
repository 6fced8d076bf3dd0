"""Plots as SVG. They need no script, take the colours of the page, and have the same figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.records.shard_stats import TimelineSample

WIDTH, HEIGHT = 600, 80  # of the drawing, in its own units
_MAX_COLUMNS = 120
_MAX_ROWS = 30
_STEPS = (2, 5, 10, 15, 30, 60, 120, 300, 600)  # seconds of a column


@dataclass(frozen=True)
class Point:
    """Mean speed in one span of time."""

    at: float  # begin of the span, seconds since the epoch
    rate: float  # output tokens/s


@dataclass(frozen=True)
class Plot:
    """A line of speeds, ready for the template."""

    points: list[Point]
    peak: float  # tokens/s at the upper edge
    seconds: float  # time from the left edge to the right one
    line: str  # points of the SVG polyline
    area: str  # points of the polygon below it

    @property
    def rows(self) -> list[Point]:
        """The points of the table: at most `_MAX_ROWS`, of equal spans."""
        step = -(-len(self.points) // _MAX_ROWS)
        parts = [self.points[first : first + step] for first in range(0, len(self.points), step or 1)]
        return [Point(part[0].at, sum(point.rate for point in part) / len(part)) for part in parts]


def plot_of(samples: Sequence[TimelineSample]) -> Plot | None:
    """Return the plot of a job's output tokens per second, summed over its workers. None without two points.

    Args:
        samples: One sample per worker and second, oldest first. A second without a sample had no throughput.
    """
    if not samples:
        return None
    first, last = samples[0].at, max(sample.at for sample in samples)
    step = next((step for step in _STEPS if (last - first) / step <= _MAX_COLUMNS), _STEPS[-1])
    # The mean per worker, because a column may have one sample more or less than its seconds.
    rates: list[dict[str, list[float]]] = [{} for _ in range(int((last - first) / step) + 1)]
    for sample in samples:
        rates[max(int((sample.at - first) / step), 0)].setdefault(sample.worker_id, []).append(sample.output_throughput)
    sums = [sum(sum(own) / len(own) for own in column.values()) for column in rates]
    points = [Point(first + index * step, total) for index, total in enumerate(sums)]
    if len(points) < 2:
        return None
    peak = max(point.rate for point in points) or 1.0
    places = [
        f"{index / (len(points) - 1) * WIDTH:.0f},{HEIGHT - point.rate / peak * HEIGHT:.1f}"
        for index, point in enumerate(points)
    ]
    area = f"0,{HEIGHT} {' '.join(places)} {WIDTH},{HEIGHT}"
    return Plot(points, peak, len(points) * step, " ".join(places), area)


def rate_now(samples: Sequence[TimelineSample], span_seconds: float = 5.0) -> float | None:
    """Return the mean output tokens per second in the last seconds of the samples. None without samples."""
    if not samples:
        return None
    last = max(sample.at for sample in samples)
    recent = [sample for sample in samples if sample.at > last - span_seconds]
    return sum(sample.output_throughput for sample in recent) / span_seconds
