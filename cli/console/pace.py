"""How fast something counts up, and how long the rest will take."""

from __future__ import annotations

from collections import deque


class Pace:
    """The rate over the last `window_seconds`, so that a pause or a slow start is soon forgotten."""

    def __init__(self, window_seconds: float = 30.0) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, int]] = deque()  # (seconds of a monotonic clock, count)

    def add(self, now: float, count: int) -> None:
        """Note that the count stood at `count` at `now`. Times must not fall."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] < now - self._window_seconds:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """None until two different times are known."""
        if len(self._samples) < 2:
            return None
        (first_time, first_count), (last_time, last_count) = self._samples[0], self._samples[-1]
        return (last_count - first_count) / (last_time - first_time) if last_time > first_time else None

    def seconds_for(self, more: int) -> float | None:
        """How long `more` will take at this pace; None when it stands still or is not known."""
        pace = self.per_second
        return more / pace if pace and pace > 0 else None
