"""Notifications of the memory store that a client has given a job shards to run."""

from __future__ import annotations

import threading
from collections import Counter


class MemoryNotifications:
    """A counter per model: it rises when a client gives a job of the model shards to run. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count: Counter[str] = Counter()

    def add(self, model: str) -> None:
        """Count one more notification, and wake all waiters. They can read the store once its lock is released."""
        with self._changed:
            self._count[model] += 1
            self._changed.notify_all()

    def wait(self, model: str, since: str | None, timeout_seconds: float) -> str | None:
        """Implement `ShardWork.wait_for_notification`. The returned value is the model's counter."""
        with self._changed:
            self._changed.wait_for(lambda: self._latest(model) != since, timeout_seconds)
            return self._latest(model)

    def _latest(self, model: str) -> str | None:
        return str(self._count[model]) if model in self._count else None
