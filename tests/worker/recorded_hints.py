"""A hint sender that remembers."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from jobs.records.job import ShardRef


class RecordedHints:
    """Its queue is as deep as the test says."""

    def __init__(self) -> None:
        self.sent: list[ShardRef] = []
        self._changed = threading.Condition()
        self.waiting = 0
        self._looks = 0

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        new = list(shards)
        with self._changed:
            self.sent.extend(new)
            self._changed.notify_all()
        return len(new)

    def wait_for_sent(self, count: int, timeout_seconds: float = 60) -> None:
        """Return once so many hints have been sent in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.sent) >= count, timeout_seconds)

    def depth(self, model: str) -> int:
        with self._changed:
            self._looks += 1
            self._changed.notify_all()
        return self.waiting

    def wait_for_looks(self, count: int, timeout_seconds: float = 60) -> None:
        """Return once somebody has asked so many more times how many hints wait."""
        with self._changed:
            wanted = self._looks + count
            assert self._changed.wait_for(lambda: self._looks >= wanted, timeout_seconds)
