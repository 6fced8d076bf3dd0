"""Which shards this worker is running at this moment."""

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
    """A shard that a thread of this worker is busy with."""

    ref: ShardRef | None  # None until it is leased
    in_flight: InFlight
    preparing: bool = True  # its lines are not in the engine yet
    output_tokens: int = 0  # new tokens so far; only the engine thread writes it
    booked_tokens: int = 0  # of these, what `ActiveShards.take_work` has reported

    def count_token(self, _token_id: int) -> None:
        """One more token of this shard; called on the engine thread."""
        self.output_tokens += 1

    def take_tokens(self) -> int:
        """Tokens since this was last called."""
        new = self.output_tokens - self.booked_tokens
        self.booked_tokens += new
        return new


@dataclass(frozen=True)
class JobWork:
    """What this worker has done for one job since it was last asked."""

    output_tokens: int
    lines: int  # in the engine at this moment


class ActiveShards:
    """Thread-safe."""

    def __init__(self) -> None:
        self.stopping = threading.Event()  # set once, when the worker ends
        self.draining = threading.Event()  # set once, when it takes no more shards and finishes those that it has
        self.stirred = threading.Event()  # set when who waits for room or for a new job had better look again
        self._changed = threading.Condition()
        self._active: list[ActiveShard] = []
        self._solitude = False  # a shard is alone here, or waits until it is
        self._left_tokens: Counter[str] = Counter()  # of shards that ended since the last `take_work`, by job

    @contextmanager
    def entered(self, shard: ActiveShard) -> Iterator[None]:
        """While the context lasts, the shard is active; a worker that stops interrupts it.

        Waits while another shard is alone here, or is about to be.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._solitude or self.stopping.is_set())
            self._enter(shard)
        try:
            yield
        finally:
            with self._changed:
                self._leave(shard)

    @contextmanager
    def entered_alone(self, shard: ActiveShard) -> Iterator[bool]:
        """The same once no other shard is active; none will be until the context ends.

        Yields False, and the shard is not active, when another one has asked for that before.
        """
        with self._changed:
            granted = not self._solitude
            if granted:
                self._solitude = True
                self._changed.wait_for(lambda: not self._active or self.stopping.is_set())
                self._enter(shard)
        try:
            yield granted
        finally:
            if granted:
                with self._changed:
                    self._solitude = False
                    self._leave(shard)

    def _enter(self, shard: ActiveShard) -> None:
        self._active.append(shard)
        if self.stopping.is_set():
            shard.in_flight.interrupt(Interruption.STOPPING)

    def _leave(self, shard: ActiveShard) -> None:
        self._active.remove(shard)
        if shard.ref is not None:
            self._left_tokens[shard.ref.job_id] += shard.take_tokens()
            self.stirred.set()
        self._changed.notify_all()

    def num_preparing(self) -> int:
        """Shards that are leased, and whose lines are not in the engine yet."""
        with self._changed:
            return sum(shard.preparing for shard in self._active if shard.ref is not None)

    def job_ids(self) -> tuple[str, ...]:
        """The jobs that shards are active of, in order."""
        with self._changed:
            return tuple(sorted({shard.ref.job_id for shard in self._active if shard.ref is not None}))

    def take_work(self) -> dict[str, JobWork]:
        """What was done for each job, by its id, since this was last called."""
        with self._changed:
            tokens, self._left_tokens = self._left_tokens, Counter()
            lines: Counter[str] = Counter()
            for shard in self._active:
                if shard.ref is not None:
                    tokens[shard.ref.job_id] += shard.take_tokens()
                    lines[shard.ref.job_id] += len(shard.in_flight)
        return {job_id: JobWork(tokens[job_id], lines[job_id]) for job_id in tokens}

    @property
    def leaving(self) -> bool:
        """Whether no shard is to be taken any more."""
        return self.stopping.is_set() or self.draining.is_set()

    def stop(self) -> None:
        """Interrupt all shards, and every one that comes later."""
        self.stopping.set()
        self.stirred.set()
        with self._changed:
            for shard in self._active:
                shard.in_flight.interrupt(Interruption.STOPPING)
            self._changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float | None = None) -> bool:
        """Whether no shard is active, within that time (None: for as long as it takes)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout_seconds)
