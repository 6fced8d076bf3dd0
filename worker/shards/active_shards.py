"""The shards that this worker is running now."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobs.records.job import ShardRef
from worker.shards.in_flight import InFlight, Interruption


@dataclass(eq=False)
class ActiveShard:
    """A shard that a thread of this worker takes, prepares or runs."""

    ref: ShardRef | None  # None until it is leased
    in_flight: InFlight
    preparing: bool = True  # True until its lines are in the engine
    output_tokens: int = 0  # new tokens so far; only the engine thread writes it
    booked_tokens: int = 0  # tokens that `take_tokens` has returned already

    def count_token(self, _token_id: int) -> None:
        """Count one more token of this shard. Called on the engine thread."""
        self.output_tokens += 1

    def take_tokens(self) -> int:
        """Return the number of new tokens since the previous call."""
        new = self.output_tokens - self.booked_tokens
        self.booked_tokens += new
        return new


@dataclass(frozen=True)
class JobWork:
    """This worker's work for one job since the previous `ActiveShards.take_work`."""

    output_tokens: int
    lines: int  # number of lines in the engine now


class ActiveShards:
    """The set of this worker's active shards. Thread-safe."""

    def __init__(self) -> None:
        self.stopping = threading.Event()  # set once, when the worker ends
        self.draining = threading.Event()  # set once, when the worker takes no more shards and finishes its own
        self.wakeup = threading.Event()  # set when the thread that waits for room or a new job must look again
        self._changed = threading.Condition()
        self._active: list[ActiveShard] = []
        self._isolating = False  # True while a shard runs isolated, or waits until it can
        self._left_tokens: Counter[str] = Counter()  # job id -> tokens of shards that ended since the last `take_work`

    @contextmanager
    def entered(self, shard: ActiveShard) -> Iterator[None]:
        """Make a shard active for the duration of the context. `stop` interrupts the shard.

        Waits while another shard is isolated or waits for it.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._isolating or self.stopping.is_set())
            self._enter(shard)
        try:
            yield
        finally:
            with self._changed:
                self._leave(shard)

    @contextmanager
    def entered_isolated(self, shard: ActiveShard) -> Iterator[bool]:
        """Wait until no other shard is active, then make this one active. No other becomes active in the context.

        Yields True. If another shard is already isolated or waits for it, yields False, and the shard is not active.
        """
        with self._changed:
            granted = not self._isolating
            if granted:
                self._isolating = True
                self._changed.wait_for(lambda: not self._active or self.stopping.is_set())
                self._enter(shard)
        try:
            yield granted
        finally:
            if granted:
                with self._changed:
                    self._isolating = False
                    self._leave(shard)

    def _enter(self, shard: ActiveShard) -> None:
        self._active.append(shard)
        if self.stopping.is_set():
            shard.in_flight.interrupt(Interruption.STOPPING)

    def _leave(self, shard: ActiveShard) -> None:
        self._active.remove(shard)
        if shard.ref is not None:
            self._left_tokens[shard.ref.job_id] += shard.take_tokens()
            self.wakeup.set()
        self._changed.notify_all()

    def num_preparing(self) -> int:
        """Return the number of leased shards whose lines are not in the engine yet."""
        with self._changed:
            return sum(shard.preparing for shard in self._active if shard.ref is not None)

    def job_ids(self) -> tuple[str, ...]:
        """Return the ids of the jobs with a leased active shard, sorted."""
        with self._changed:
            return tuple(sorted({shard.ref.job_id for shard in self._active if shard.ref is not None}))

    def take_work(self) -> dict[str, JobWork]:
        """Return the work for each job since the previous call, by job id."""
        with self._changed:
            tokens, self._left_tokens = self._left_tokens, Counter()
            lines: Counter[str] = Counter()
            for shard in self._active:
                if shard.ref is not None:
                    tokens[shard.ref.job_id] += shard.take_tokens()
                    lines[shard.ref.job_id] += len(shard.in_flight)
        return {job_id: JobWork(tokens[job_id], lines[job_id]) for job_id in tokens}

    @property
    def isolating(self) -> bool:
        """True if a shard is isolated, or waits for it. Nothing else must run in this worker then."""
        return self._isolating

    @property
    def leaving(self) -> bool:
        """True if the worker takes no more shards, because it stops or drains."""
        return self.stopping.is_set() or self.draining.is_set()

    def stop(self) -> None:
        """Interrupt all active shards, and each shard that becomes active later."""
        self.stopping.set()
        self.wakeup.set()
        with self._changed:
            for shard in self._active:
                shard.in_flight.interrupt(Interruption.STOPPING)
            self._changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float | None = None) -> bool:
        """Wait until no shard is active. Returns False if that takes longer than `timeout_seconds` (None: no limit)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout_seconds)
