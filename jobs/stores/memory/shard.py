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
    """Its lines, their results so far, and who holds it."""

    prompts: list[Prompt]
    results: dict[int, Completion] = field(default_factory=dict)  # by line index
    lease: Lease | None = None
    expires_at: float = 0.0
    leased_at: float = 0.0
    backup: Lease | None = None  # a second runner's, which ends with the holder's
    backup_until: float = 0.0
    token: int = 0  # of the latest lease
    attempts: int = 0
    closed: bool = False
    expiries: int = 0  # leases that expired while the shard shared a worker with others
    lines_at_a_time: int | None = None  # it is run alone in a worker, so many of its pending lines together
    lone_expiries: int = 0  # leases that expired while the first pending line was alone in a worker
    silent: dict[int, str] = field(default_factory=dict)  # token of an expired lease -> the counter that it moved

    def pending(self) -> list[Prompt]:
        """Lines without a result."""
        return [prompt for prompt in self.prompts if prompt.index not in self.results]

    def expired(self, now: float) -> bool:
        """Whether its worker has fallen silent."""
        return self.lease is not None and self.expires_at <= now

    def unhold(self) -> None:
        """End the holder's lease, and with it a second runner's."""
        self.lease = self.backup = None

    def may_work(self, lease: Lease) -> bool:
        """Whether a lease is the holder's, or the second runner's while there is a holder."""
        tokens = [known.token for known in (self.lease, self.backup) if known is not None]
        return self.lease is not None and lease.token in tokens

    def drop_expired(self) -> None:
        """Take the shard from a silent worker; a line that takes workers down gets its error."""
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
        """Seconds that a lease of it lives; longer before its line is given up, for the worker may only be frozen."""
        last = self.lone_expiries + 1 >= MAX_LONE_EXPIRIES
        return usual_seconds * LAST_LEASES if last else usual_seconds

    @property
    def expires_often(self) -> bool:
        """Whether it must be run alone from now on."""
        return self.expiries >= MAX_SHARED_EXPIRIES

    def absolve(self, token: int) -> None:
        """The worker of an expired lease is alive after all."""
        counter = self.silent.pop(token, None)
        if counter is not None:
            setattr(self, counter, max(0, getattr(self, counter) - 1))

    def reopen(self, kept: dict[int, Completion]) -> None:
        """Open its failed lines again."""
        self.results, self.closed = kept, False
        self.attempts = self.expiries = self.lone_expiries = 0
        self.lines_at_a_time = None

    def _count_silence(self, counter: str) -> None:
        assert self.lease is not None
        self.silent[self.lease.token] = counter
        setattr(self, counter, getattr(self, counter) + 1)
