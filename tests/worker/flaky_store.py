"""A real store behind a line that a test can cut."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from jobs.errors import QwenBatchError, StoreUnavailable
from jobs.stores.protocol import JobStore

WRITES = frozenset(
    {"lease", "lease_next", "try_backup", "renew", "release", "write", "finish_shard", "report_worker", "add_timeline"}
)


class FlakyStore:
    """Passes every call to `real`, unless it is cut off.

    `down` is what every call raises while it is set; `full` is what writing calls raise.
    """

    def __init__(self, real: JobStore) -> None:
        self.submissions: Any = _FlakyFacet(self, real.submissions)
        self.jobs: Any = _FlakyFacet(self, real.jobs)
        self.control: Any = _FlakyFacet(self, real.control)
        self.work: Any = _FlakyFacet(self, real.work)
        self.recovery: Any = _FlakyFacet(self, real.recovery)
        self.fleet: Any = _FlakyFacet(self, real.fleet)
        self.damage = real.damage
        self._ping = real.ping
        self.down: QwenBatchError | None = None
        self.full: QwenBatchError | None = None
        self._refused: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()
        self._changed = threading.Condition()

    def ping(self) -> None:
        self.call("ping", self._ping)

    def cut(self) -> None:
        self.down = StoreUnavailable("Redis at 127.0.0.1:6379 refused the connection.")

    def mend(self) -> None:
        self.down = self.full = None

    def wait_for_refused(self, name: str, count: int, timeout_seconds: float = 60) -> None:
        """Return once so many calls of that name have failed here."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._refused[name] >= count, timeout_seconds)

    def wait_for_calls(self, name: str, count: int, timeout_seconds: float = 60) -> None:
        """Return once so many calls of that name have got through."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._passed[name] >= count, timeout_seconds)

    def call(self, name: str, real: Callable[[], Any]) -> Any:
        """Call `real`, unless the store is cut off."""
        error = self.down or (self.full if name in WRITES else None)
        if error is not None:
            self._count(self._refused, name)
            raise error
        answer = real()
        self._count(self._passed, name)
        return answer

    def _count(self, calls: Counter[str], name: str) -> None:
        with self._changed:
            calls[name] += 1
            self._changed.notify_all()


class _FlakyFacet:
    """Passes every call to a facet of the real store, unless the store is cut off."""

    def __init__(self, store: FlakyStore, real: object) -> None:
        self._store = store
        self._real = real

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._store.call(name, lambda: method(*args, **kwargs))

        return call
