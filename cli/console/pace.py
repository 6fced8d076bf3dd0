"""The rate of a count, and the time for the rest."""

from __future__ import annotations

from collections import deque


class Pace:
    """The rate of a count over the last `window_seconds`. Earlier pauses do not affect it."""

    def __init__(self, window_seconds: float = 30.0) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, int]] = deque()  # (seconds of a monotonic clock, count)

    def add(self, now: float, count: int) -> None:
        """Add a sample: the count at the time `now`. Times must not decrease."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] < now - self._window_seconds:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate, or None until there are samples of two different times."""
        if len(self._samples) < 2:
            return None
        (first_time, first_count), (last_time, last_count) = self._samples[0], self._samples[-1]
        return (last_count - first_count) / (last_time - first_time) if last_time > first_time else None

    def seconds_for(self, more: int) -> float | None:
        """Return the seconds that `more` counts take at this rate. None if the rate is unknown or not positive."""
        pace = self.per_second
        return more / pace if pace and pace > 0 else None
