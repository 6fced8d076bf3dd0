"""A mergeable histogram of latencies, with exact means and quantiles within 1%, for any number of lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)  # ratio of neighbouring bucket bounds
_LOG_GAMMA = math.log(_GAMMA)
SMALLEST_MS = 0.001  # shorter latencies count as this value


def bucket_of(latency_ms: float) -> int:
    """Return the bucket of a latency. Bucket i holds the interval (gamma^(i-1), gamma^i] in milliseconds."""
    return math.ceil(math.log(latency_ms if latency_ms > SMALLEST_MS else SMALLEST_MS) / _LOG_GAMMA)


def bucket_latency_ms(bucket: int) -> float:
    """Return the latency in milliseconds that is within `RELATIVE_ERROR` of each latency in a bucket."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1)


def microseconds(latency_ms: float) -> int:
    """Round a latency to whole microseconds. Integers add up exactly in any order."""
    return round(latency_ms * 1000)


@dataclass
class LatencyHistogram:
    """A count per logarithmic bucket, and the exact sum. Histograms merge by addition.

    Source: Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
    VLDB 2019.
    """

    counts: dict[int, int] = field(default_factory=dict)
    sum_us: int = 0

    def add(self, latency_ms: float) -> None:
        """Count one line's latency."""
        bucket = bucket_of(latency_ms)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.sum_us += microseconds(latency_ms)

    @property
    def count(self) -> int:
        """Number of counted lines."""
        return sum(self.counts.values())

    def mean_ms(self) -> float | None:
        """Return the mean in milliseconds, exact to a microsecond. None without lines."""
        count = self.count
        return self.sum_us / count / 1000 if count else None

    def quantile_ms(self, q: float) -> float | None:
        """Return the least latency that a share `q` of the lines does not exceed, within `RELATIVE_ERROR`.

        The 99th percentile of fewer than 100 lines is the slowest one. None without lines.
        """
        rank = max(0, math.ceil(q * self.count) - 1)
        for bucket, below in self._cumulative():
            if below > rank:
                return bucket_latency_ms(bucket)
        return None

    def _cumulative(self) -> Iterator[tuple[int, int]]:
        total = 0
        for bucket in sorted(self.counts):
            total += self.counts[bucket]
            yield bucket, total
