"""News of the memory store."""

from __future__ import annotations

import threading
from collections import Counter

from jobs.stores.protocol import NO_NEWS


class MemoryNews:
    """Counts, for each model, how often a job was given shards to run. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count: Counter[str] = Counter({"": int(NO_NEWS)})

    def add(self, model: str) -> None:
        """Once more: those who wait look when whoever holds the store's lock lets it go."""
        with self._changed:
            self._count[model] += 1
            self._changed.notify_all()

    def wait(self, model: str, since: str, timeout_seconds: float) -> str:
        """What `JobStore.wait_for_news` says."""
        with self._changed:
            self._changed.wait_for(lambda: str(self._count[model]) != since, timeout_seconds)
            return str(self._count[model])
