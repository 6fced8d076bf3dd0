"""Which shard a thread of this worker takes next, and when."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field

from jobs.records.job import ShardRef
from worker.shards.active_shards import ActiveShard, ActiveShards
from worker.shards.in_flight import InFlight, Interruption
from worker.shards.inference_engine import InferenceEngine
from worker.upkeep.lease_keeper import HeldLease, LeaseKeeper, OnEnd

POLL_SECONDS = 0.05  # while the engine is full: how often to look without having been told that anything has changed
LINES_AHEAD = 16  # lines that wait in the engine, so that its batch stays full while the next shard is fetched
LINES_TO_COME = 32  # counted for a shard that is leased, and whose lines are not in the engine yet


@dataclass(frozen=True)
class Taken:
    """A shard of this worker, from its lease on."""

    activity: ActiveShard
    held: HeldLease


@dataclass(frozen=True)
class Turns:
    """Lets a thread take a shard when the engine has room for its lines, so that no worker hoards what others could run
    and no line waits long behind others. A job of which this worker runs nothing yet need not wait for room.

    Args:
        lease_keeper: Takes the shard that the store says is next.
        engine: Knows how many lines it has.
        active: What this worker runs.
        model: The served model's name.
        max_num_seqs: Lines that the engine runs together.
    """

    lease_keeper: LeaseKeeper
    engine: InferenceEngine
    active: ActiveShards
    model: str
    max_num_seqs: int
    _turn: threading.Lock = field(default_factory=threading.Lock)  # each thread must see what those before it took

    def take(self, hint: ShardRef, until: ExitStack) -> Taken | ShardRef | None:
        """Wait until there is room, and take a shard; it is active until `until` is closed.

        A `ShardRef` is one that must be run alone. None when there is nothing to do, or the worker stops. Raises what
        `LeaseKeeper.take_next` raises.
        """
        with self._turn:
            while not self.active.leaving:
                self.active.stirred.clear()
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
                self.active.stirred.wait(POLL_SECONDS)
        return None

    def _has_room(self) -> bool:
        load = self.engine.load()
        lines = load.running + load.waiting + LINES_TO_COME * self.active.num_preparing()
        return lines < self.max_num_seqs + LINES_AHEAD

    def _ask(self, hint: ShardRef, activity: ActiveShard, has_room: bool) -> HeldLease | ShardRef | None:
        on_end = interrupter(activity)
        if not has_room:
            return self.lease_keeper.take_next(self.model, on_end, passing_over=self.active.job_ids())
        return self.lease_keeper.take_next(self.model, on_end) or self.lease_keeper.take(hint, on_end)


def interrupter(activity: ActiveShard) -> OnEnd:
    """What the lease keeper calls when a lease is no longer simply held."""
    return lambda status: activity.in_flight.interrupt(Interruption(status.value))
