"""Waiting longer after every failure, so that a server in trouble is not hammered."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first_seconds` up to `longest_seconds`, each cut by up to a half at random.

    The random cut keeps workers that lost a server together from coming back together.
    """

    def __init__(self, first_seconds: float = 0.1, longest_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._next = first_seconds

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        delay = self._next
        self._next = min(delay * 2, self._longest)
        return delay * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next failure waits `first_seconds` again."""
        self._next = self._first
