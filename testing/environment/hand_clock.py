"""Time that passes when a test says so."""

from __future__ import annotations


class HandClock:
    """Stands still until a test moves it. Calling it returns seconds, as `time.time` and `time.monotonic` do."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
