"""One shard of the memory store."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jobs.records.completion import Completion
from jobs.records.job import Lease, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.rules import LAST_LEASE_FACTOR, MAX_CRASHES, MAX_ISOLATED_CRASHES, PART, worker_lost_line


@dataclass
class MemoryShard:
    """A shard's lines, their results so far, and its leases."""

    prompts: list[Prompt]
    results: dict[int, Completion] = field(default_factory=dict)  # by line index
    lease: Lease | None = None
    expires_at: float = 0.0
    leased_at: float = 0.0
    backup: Lease | None = None  # it ends with the holder's lease
    backup_until: float = 0.0
    token: int = 0  # token of the latest lease
    attempts: int = 0
    closed: bool = False
    lines_at_a_time: int | None = None  # set if it is quarantined: max pending lines that run together
    crashes: set[int] = field(default_factory=set)  # tokens of the leases that expired before the quarantine
    # Tokens of leases that expired while the worker ran only the shard's first pending line.
    isolated_crashes: set[int] = field(default_factory=set)

    @property
    def quarantined(self) -> bool:
        """True if the shard has crashed so many workers that it must run isolated."""
        return self.lines_at_a_time is not None

    def pending(self) -> list[Prompt]:
        """Return the lines without a result."""
        return [prompt for prompt in self.prompts if prompt.index not in self.results]

    def expired(self, now: float) -> bool:
        """Return whether the holder's lease has expired, because the worker no longer renews it."""
        return self.lease is not None and self.expires_at <= now

    def unhold(self) -> None:
        """End the holder's lease, and with it the backup's."""
        self.lease = self.backup = None

    def may_work(self, lease: Lease) -> bool:
        """Return whether a lease permits work: the holder's does, and the backup's does while there is a holder."""
        tokens = [known.token for known in (self.lease, self.backup) if known is not None]
        return self.lease is not None and lease.token in tokens

    def take_backup(self, ref: ShardRef, worker_id: str, until: float) -> Lease:
        """Make a worker the shard's backup."""
        self.token += 1
        self.backup, self.backup_until = Lease(ref, worker_id, self.token, self.attempts, backup=True), until
        return self.backup

    def drop_expired(self) -> None:
        """Take the shard from a lost worker. A line that crashes its workers gets a `worker_lost` error."""
        assert self.lease is not None
        pending = self.pending()
        ran = len(pending[: self.lines_at_a_time])
        if self.lines_at_a_time is None:
            self.crashes.add(self.lease.token)
            if len(self.crashes) >= MAX_CRASHES:
                self.lines_at_a_time = max(len(pending), 1)
        elif ran > 1:
            self.lines_at_a_time = math.ceil(ran / PART)
        elif ran == 1 and self._next_is_last:
            self.results[pending[0].index] = worker_lost_line(pending[0])
            self.lines_at_a_time = max(len(pending) - 1, 1)
            self.isolated_crashes.clear()
        elif ran == 1:
            self.isolated_crashes.add(self.lease.token)
        self.unhold()

    @property
    def _next_is_last(self) -> bool:
        """True if one more crash while its first pending line runs alone gives that line an error."""
        return len(self.isolated_crashes) + 1 >= MAX_ISOLATED_CRASHES

    def time_to_live(self, usual_seconds: float) -> float:
        """Return a lease's time to live in seconds.

        The last lease before a line gets a `worker_lost` error lives longer, because the worker may only be frozen.
        """
        return usual_seconds * LAST_LEASE_FACTOR if self._next_is_last else usual_seconds

    def uncount_crash(self, token: int) -> None:
        """Do not count an expired lease as a crash any more, because its worker is alive after all."""
        self.crashes.discard(token)
        self.isolated_crashes.discard(token)

    def reopen(self, kept: dict[int, Completion]) -> None:
        """Open the shard again with only the results in `kept`."""
        self.results, self.closed = kept, False
        self.attempts, self.lines_at_a_time = 0, None
        self.crashes.clear()
        self.isolated_crashes.clear()
