"""One shard of the memory store."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jobs.records.completion import Completion
from jobs.records.job import Lease
from jobs.records.prompt import Prompt
from jobs.stores.rules import LAST_LEASES, MAX_LONE_EXPIRIES, MAX_SHARED_EXPIRIES, PART, worker_lost_line


@dataclass
class MemoryShard:
    """A shard's lines, their results so far, and its leases."""

    prompts: list[Prompt]
    results: dict[int, Completion] = field(default_factory=dict)  # by line index
    lease: Lease | None = None
    expires_at: float = 0.0
    leased_at: float = 0.0
    backup: Lease | None = None  # the second runner's lease; it ends with the holder's
    backup_until: float = 0.0
    token: int = 0  # token of the latest lease
    attempts: int = 0
    closed: bool = False
    expiries: int = 0  # leases that expired while the shard shared a worker with others
    lines_at_a_time: int | None = None  # set if the shard must run alone: max pending lines that run together
    lone_expiries: int = 0  # leases that expired while the first pending line was alone in a worker
    silent: dict[int, str] = field(default_factory=dict)  # token of an expired lease -> the counter that it moved

    def pending(self) -> list[Prompt]:
        """Return the lines without a result."""
        return [prompt for prompt in self.prompts if prompt.index not in self.results]

    def expired(self, now: float) -> bool:
        """Return whether its lease has expired, because the worker no longer renews it."""
        return self.lease is not None and self.expires_at <= now

    def unhold(self) -> None:
        """End the holder's lease, and with it a second runner's."""
        self.lease = self.backup = None

    def may_work(self, lease: Lease) -> bool:
        """Return whether a lease is the holder's, or the second runner's while there is a holder."""
        tokens = [known.token for known in (self.lease, self.backup) if known is not None]
        return self.lease is not None and lease.token in tokens

    def drop_expired(self) -> None:
        """Take the shard from a lost worker. A line that crashes its workers gets a `worker_lost` error."""
        pending = self.pending()
        ran = len(pending[: self.lines_at_a_time])
        if self.lines_at_a_time is None:
            self._count_silence("expiries")
            if self.expires_often:
                self.lines_at_a_time = max(len(pending), 1)
        elif ran > 1:
            self.lines_at_a_time = math.ceil(ran / PART)
        elif ran == 1 and self.lone_expiries + 1 >= MAX_LONE_EXPIRIES:
            self.results[pending[0].index] = worker_lost_line(pending[0])
            self.lines_at_a_time, self.lone_expiries = max(len(pending) - 1, 1), 0
        elif ran == 1:
            self._count_silence("lone_expiries")
        self.unhold()

    def time_to_live(self, usual_seconds: float) -> float:
        """Return a lease's time to live in seconds.

        The last lease before a line gets a `worker_lost` error lives longer, because the worker may only be frozen.
        """
        last = self.lone_expiries + 1 >= MAX_LONE_EXPIRIES
        return usual_seconds * LAST_LEASES if last else usual_seconds

    @property
    def expires_often(self) -> bool:
        """True if so many leases have expired that the shard must run alone."""
        return self.expiries >= MAX_SHARED_EXPIRIES

    def absolve(self, token: int) -> None:
        """Undo the count of an expired lease, because its worker is alive after all."""
        counter = self.silent.pop(token, None)
        if counter is not None:
            setattr(self, counter, max(0, getattr(self, counter) - 1))

    def reopen(self, kept: dict[int, Completion]) -> None:
        """Open the shard again with only the results in `kept`."""
        self.results, self.closed = kept, False
        self.attempts = self.expiries = self.lone_expiries = 0
        self.lines_at_a_time = None

    def _count_silence(self, counter: str) -> None:
        assert self.lease is not None
        self.silent[self.lease.token] = counter
        setattr(self, counter, getattr(self, counter) + 1)
