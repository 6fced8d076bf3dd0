"""A mergeable histogram of latencies: exact mean, quantiles within 1%, however many lines there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)  # ratio of neighbouring bucket borders
_LOG_GAMMA = math.log(_GAMMA)
SMALLEST_MS = 0.001  # shorter latencies count as this one


def bucket_of(latency_ms: float) -> int:
    """The bucket of a latency: bucket i holds (gamma^(i-1), gamma^i] milliseconds."""
    return math.ceil(math.log(latency_ms if latency_ms > SMALLEST_MS else SMALLEST_MS) / _LOG_GAMMA)


def bucket_latency_ms(bucket: int) -> float:
    """The latency, in milliseconds, that lies within `RELATIVE_ERROR` of everything in a bucket."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1)


def microseconds(latency_ms: float) -> int:
    """A latency in whole microseconds: integers add up exactly, in whatever order."""
    return round(latency_ms * 1000)


@dataclass
class LatencyHistogram:
    """Counts a logarithmic bucket, and the exact sum.

    Histograms merge by adding. Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch
    with relative-error guarantees", VLDB 2019.
    """

    counts: dict[int, int] = field(default_factory=dict)
    sum_us: int = 0

    def add(self, latency_ms: float) -> None:
        """Count one line's latency."""
        bucket = bucket_of(latency_ms)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.sum_us += microseconds(latency_ms)

    def merge(self, other: LatencyHistogram) -> None:
        """Count everything that another histogram has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.sum_us += other.sum_us

    @property
    def count(self) -> int:
        """Lines counted."""
        return sum(self.counts.values())

    def mean_ms(self) -> float | None:
        """The mean, exact to a microsecond; None without lines."""
        count = self.count
        return self.sum_us / count / 1000 if count else None

    def quantile_ms(self, q: float) -> float | None:
        """The latency at rank floor(q * (count - 1)), within `RELATIVE_ERROR`; None without lines."""
        rank = math.floor(q * (self.count - 1))
        for bucket, below in self._cumulative():
            if below > rank:
                return bucket_latency_ms(bucket)
        return None

    def _cumulative(self) -> Iterator[tuple[int, int]]:
        total = 0
        for bucket in sorted(self.counts):
            total += self.counts[bucket]
            yield bucket, total
