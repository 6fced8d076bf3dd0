"""Finished lines on their way to the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from jobs.errors import StoreFull, StoreUnavailable
from jobs.records.completion import Completion
from jobs.records.job import Lease
from jobs.stores.protocol import JobStore
from worker.upkeep.backoff import Backoff
from worker.upkeep.store_link import StoreLink

FLUSH_LINES = 128  # so many finished lines are stored without waiting for `flush_seconds`
WRITE_LINES = 512  # at most so many in one call: it is one script, and the server does nothing else meanwhile


class Outbox:
    """Holds the finished lines of one shard until the store has them. Used by one thread.

    With a store that is unreachable or full the lines stay here and are tried again, with growing pauses.

    Args:
        store: Where they go.
        lease: The right to write them.
        flush_seconds: How long a finished line may wait for others to share a call with.
        link: Told of every call that failed or worked.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        lease: Lease,
        flush_seconds: float,
        link: StoreLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lease = lease
        self._flush_seconds = flush_seconds
        self._link = link
        self._clock = clock
        self._backoff = Backoff()
        self._held: list[Completion] = []
        self._due_at: float | None = None  # when to write; None while there is nothing to write
        self._failing = False

    def __len__(self) -> int:
        return len(self._held)

    def add(self, completions: Sequence[Completion]) -> None:
        """Take finished lines over."""
        if not completions:
            return
        self._held.extend(completions)
        now = self._clock()
        if self._due_at is None:
            self._due_at = now + self._flush_seconds
        if len(self._held) >= FLUSH_LINES and not self._failing:
            self._due_at = now

    def seconds_until_due(self) -> float | None:
        """How long the next write can wait; None while there is nothing to write."""
        return None if self._due_at is None else max(0.0, self._due_at - self._clock())

    def flush_if_due(self) -> None:
        """Write if it is time; lines that the store does not take stay here. Raises `LeaseLost` and `JobNotFound`."""
        if self._due_at is None or self._clock() < self._due_at:
            return
        try:
            self.write_all()
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            self._failing = True
            self._due_at = self._clock() + self._backoff.next_delay()

    def write_all(self) -> None:
        """Write everything now. Raises what `JobStore.write` raises; what is not written stays here."""
        while self._held:
            self._store.write(self._lease, self._held[:WRITE_LINES])
            del self._held[:WRITE_LINES]
            self._link.worked()
        self._failing = False
        self._due_at = None
        self._backoff.reset()
