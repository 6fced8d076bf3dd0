"""Buffer finished lines and write them to the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from jobs.errors import StoreFull, StoreUnavailable
from jobs.records.completion import Completion
from jobs.records.job import Lease
from jobs.stores.worker_facets import ShardWork
from worker.upkeep.store_link import Backoff, StoreLink

FLUSH_LINES = 128  # number of finished lines that are written without waiting for `flush_seconds`
WRITE_LINES = 512  # max lines per call: a call is one script, which blocks the server for other clients


class Outbox:
    """Holds the finished lines of one shard until the store has them. Used by one thread.

    While the store is unreachable or full, the lines stay here. Writes are tried again with growing pauses.

    Args:
        store: Store for the results.
        lease: The lease under which the lines are written.
        flush_seconds: Max time that a finished line waits for others, so that they share a call.
        link: Gets the outcome of each call.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        work: ShardWork,
        lease: Lease,
        flush_seconds: float,
        link: StoreLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._lease = lease
        self._flush_seconds = flush_seconds
        self._link = link
        self._clock = clock
        self._backoff = Backoff()
        self._held: list[Completion] = []
        self._due_at: float | None = None  # time of the next write; None while there is nothing to write
        self._failing = False

    def __len__(self) -> int:
        return len(self._held)

    def add(self, completions: Sequence[Completion]) -> None:
        """Add finished lines."""
        if not completions:
            return
        self._held.extend(completions)
        now = self._clock()
        if self._due_at is None:
            self._due_at = now + self._flush_seconds
        if len(self._held) >= FLUSH_LINES and not self._failing:
            self._due_at = now

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the next write, or None while there is nothing to write."""
        return None if self._due_at is None else max(0.0, self._due_at - self._clock())

    def flush_if_due(self) -> None:
        """Write if it is time. Lines that the store does not accept stay here. Raises `LeaseLost` and `JobNotFound`."""
        if self._due_at is None or self._clock() < self._due_at:
            return
        try:
            self.write_all()
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            self._failing = True
            self._due_at = self._clock() + self._backoff.next_delay()

    def write_all(self) -> None:
        """Write all lines now. Raises every error of `ShardWork.write`; lines that are not written stay here."""
        while self._held:
            self._work.write(self._lease, self._held[:WRITE_LINES])
            del self._held[:WRITE_LINES]
            self._link.worked()
        self._failing = False
        self._due_at = None
        self._backoff.reset()
