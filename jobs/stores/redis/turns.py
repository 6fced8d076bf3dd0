"""Which shard comes next: the highest priority, then the job that was served least recently."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from jobs.keys import JobKeys
from jobs.records.job import JobState, Lease, ShardRef
from jobs.stores.damage import reading, sound
from jobs.stores.redis.index import PRIORITY_STEP, JobIndex
from jobs.stores.redis.leases import Leases
from jobs.stores.redis.server import Command, RedisServer, scored

JOBS_A_LOOK = 32  # mostly one of the first has a shard that waits
SHARDS_A_LOOK = 8  # of each job: if other workers take some of them first, there are more to try
ROUNDS = 5  # looks, while others are always faster
ALONE_FROM = 2**40  # scores in `open` of shards that must be run alone (`scripts/common.lua`)
_RUNNABLE = (JobState.QUEUED.encode(), JobState.IN_PROGRESS.encode())


@dataclass(frozen=True)
class _Turn:
    job_id: str
    score: float
    shards: list[ShardRef]  # that wait for any worker
    alone: list[ShardRef]  # that wait for a worker of their own
    deadline_ms: int | None  # by the server's clock

    @property
    def priority(self) -> float:
        return -(self.score // PRIORITY_STEP)


class Turns:
    """Jobs lie on different nodes of a cluster, so a look and the lease that follows are two steps: when another worker
    was faster, the next shard is tried.
    """

    def __init__(self, server: RedisServer, index: JobIndex, leases: Leases) -> None:
        self._server = server
        self._index = index
        self._leases = leases

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str]
    ) -> Lease | ShardRef | None:
        for _ in range(ROUNDS):
            others_were_faster, passed_over = False, None
            for turn in self._turns(model):
                if turn.job_id in passing_over:
                    passed_over = turn
                    continue
                if passed_over is not None and turn.priority < passed_over.priority:
                    break
                for shard in turn.shards:
                    with self._server.damage.skipping():
                        if lease := self._leases.lease(shard, worker_id, ttl_seconds, alone=False):
                            self._had(model, turn)
                            return lease
                        others_were_faster = True
                if turn.alone and not turn.shards and not self._late(turn):
                    self._had(model, turn)
                    return random.choice(turn.alone)
            if not others_were_faster:
                return None
        return None

    def _turns(self, model: str) -> Iterator[_Turn]:
        """Jobs with shards that wait, next in turn first."""
        first = 0
        while look := self._index.turns(model, first, JOBS_A_LOOK):
            first += len(look)
            commands: list[Command] = []
            for keys in (JobKeys(job_id) for job_id, _ in look):
                commands.append(("HMGET", keys.meta, "state", "deadline_ms", "cancel_requested", "paused"))
                commands.append(("ZRANGE", keys.open, 0, SHARDS_A_LOOK - 1, "WITHSCORES"))
            replies = self._server.replies(commands)
            for (job_id, score), meta, waiting in zip(look, replies[::2], replies[1::2], strict=True):
                turn, keys = None, JobKeys(job_id)
                with self._server.damage.skipping(), reading(keys.meta):
                    state, deadline, *held_up = sound(meta)
                    if sound(waiting) and state in _RUNNABLE and b"1" not in held_up:
                        shards = self._shards(job_id, scored(waiting))
                        turn = _turn(job_id, score, shards, int(deadline) if deadline else None)
                if turn is not None:
                    yield turn

    def _shards(self, job_id: str, waiting: list[tuple[bytes, float]]) -> list[tuple[ShardRef, float]]:
        """Shards that wait, with their places in `open`."""
        key, numbers = JobKeys(job_id).open, self._server.damage.numbers
        return [(ShardRef(job_id, index), place) for member, place in waiting for index in numbers(key, [member])]

    def _late(self, turn: _Turn) -> bool:
        """Whether the job's deadline has passed, which a lease would notice. `stranded` ends such a job."""
        return turn.deadline_ms is not None and self._server.now() * 1000 >= turn.deadline_ms

    def _had(self, model: str, turn: _Turn) -> None:
        self._index.had_its_turn(model, turn.job_id, turn.score)


def _turn(job_id: str, score: float, waiting: list[tuple[ShardRef, float]], deadline_ms: int | None) -> _Turn:
    shards: list[ShardRef] = []
    alone: list[ShardRef] = []
    for shard, place in waiting:
        (alone if place >= ALONE_FROM else shards).append(shard)
    return _Turn(job_id, score, shards, alone, deadline_ms)
