"""Decide when a thread of this worker takes a shard, and which one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from jobs.records.job import ShardRef
from jobs.stores.worker_facets import RunAlone
from worker.shards.active_shards import ActiveShard, ActiveShards
from worker.shards.in_flight import InFlight, Interruption
from worker.shards.inference_engine import InferenceEngine
from worker.upkeep.lease_keeper import HeldLease, LeaseKeeper, OnEnd

LINES_AHEAD = 16  # lines that wait in the engine, so that its batch stays full while the next shard is fetched
LINES_PER_PREPARING_SHARD = 32  # estimate for a leased shard whose lines are not in the engine yet


@dataclass(frozen=True)
class Taken:
    """A shard that this worker has leased."""

    activity: ActiveShard
    held: HeldLease


@dataclass(frozen=True)
class ShardDispatcher:
    """Lets one thread at a time take a shard, when the engine has room for its lines.

    Therefore no worker keeps shards that other workers could run, and no line waits long behind others. If this worker
    runs no shard of a job yet, the job's next shard need not wait for room.

    Args:
        lease_keeper: Takes the shard that is next in the store.
        engine: Tells how many lines it has.
        active: The shards that this worker runs.
        model: The served model's name.
        max_num_seqs: Max lines that the engine runs together.
        poll_seconds: Polling interval while the engine is full, in case no notification comes.
    """

    lease_keeper: LeaseKeeper
    engine: InferenceEngine
    active: ActiveShards
    model: str
    max_num_seqs: int
    poll_seconds: float = 0.05
    _lock: threading.Lock = field(default_factory=threading.Lock)  # a thread must see what earlier threads took

    @contextmanager
    def taken(self, hint: ShardRef) -> Iterator[Taken | RunAlone | None]:
        """Wait until there is room, and take a shard. It is active for the duration of the context.

        Yields `RunAlone` for a quarantined shard, which is neither leased nor active. Yields None when there is nothing
        to do, or when the worker stops. Raises every error of `ShardWork.lease_next` and `ShardWork.lease`.
        """
        with ExitStack() as until:
            yield self._take(hint, until)

    def _take(self, hint: ShardRef, until: ExitStack) -> Taken | RunAlone | None:
        with self._lock:
            while not self.active.leaving:
                self.active.wakeup.clear()
                activity = ActiveShard(None, InFlight(self.engine))
                with ExitStack() as attempt:
                    attempt.enter_context(self.active.entered(activity))
                    has_room = self._has_room()
                    found = self._ask(hint, activity, has_room)
                    if isinstance(found, HeldLease):
                        activity.ref = found.lease.shard
                        until.push(attempt.pop_all())
                        return Taken(activity, found)
                if found is not None or has_room:
                    return found
                self.active.wakeup.wait(self.poll_seconds)
        return None

    def _has_room(self) -> bool:
        utilization = self.engine.utilization()
        lines = utilization.running + utilization.waiting + LINES_PER_PREPARING_SHARD * self.active.num_preparing()
        return lines < self.max_num_seqs + LINES_AHEAD

    def _ask(self, hint: ShardRef, activity: ActiveShard, has_room: bool) -> HeldLease | RunAlone | None:
        on_end = interrupter(activity)
        if not has_room:
            return self.lease_keeper.take_next(self.model, on_end, passing_over=self.active.job_ids())
        return self.lease_keeper.take_next(self.model, on_end) or self.lease_keeper.take(hint, on_end)


def interrupter(activity: ActiveShard) -> OnEnd:
    """Return the callback that interrupts a shard when its lease is lost, or its job is cancelled or paused."""
    return lambda status: activity.in_flight.interrupt(Interruption(status.value))
