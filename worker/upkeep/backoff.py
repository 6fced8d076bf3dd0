"""Growing pauses between tries, so that a server in trouble gets few calls."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first_seconds` to `longest_seconds`. Each is shortened at random by up to a half.

    Workers usually lose a server at the same time. The random part keeps them from all returning at the same time.
    """

    def __init__(self, first_seconds: float = 0.1, longest_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._next = first_seconds

    def next_delay(self) -> float:
        """Return the seconds to wait after one more failure."""
        delay = self._next
        self._next = min(delay * 2, self._longest)
        return delay * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again at `first_seconds`. Call it after a success."""
        self._next = self._first
