"""Tokens a second over the last few seconds, from a counter that only grows."""

from __future__ import annotations

from collections import deque


class Throughput:
    """A sliding window over readings of a counter.

    Args:
        window_seconds: How far back the rate looks.
    """

    def __init__(self, window_seconds: float = 5.0) -> None:
        self._window = window_seconds
        self._readings: deque[tuple[float, int]] = deque()

    def per_second(self, now: float, total: int) -> float:
        """Add a reading and return the mean rate over the window; 0 for the first one.

        Args:
            now: Monotonic seconds.
            total: The counter.
        """
        self._readings.append((now, total))
        while len(self._readings) > 2 and now - self._readings[1][0] >= self._window:
            self._readings.popleft()
        first_at, first_total = self._readings[0]
        return (total - first_total) / (now - first_at) if now > first_at else 0.0
