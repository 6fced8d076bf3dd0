"""Choose a shard for a worker: the next shard that waits, or a slow shard of another worker."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from jobs.keys import JobKeys
from jobs.records.job import JobState, Lease, ShardRef
from jobs.stores.damage import reading, sound
from jobs.stores.redis.connection.server import Command, RedisServer, scored
from jobs.stores.redis.index import PRIORITY_STEP, JobIndex
from jobs.stores.rules import QUARANTINE_SCORE
from jobs.stores.worker_facets import Leased, RunAlone

JOBS_PER_LOOK = 32  # jobs per read; usually one of the first has a waiting shard
SHARDS_PER_LOOK = 8  # waiting shards per job: other workers may take some of them first
HELD_PER_LOOK = 64  # held shards per job, when it looks for slow ones
ROUNDS = 5  # max searches while other workers take every shard first
_RUNNABLE = (JobState.QUEUED.encode(), JobState.IN_PROGRESS.encode())


@dataclass(frozen=True)
class _Candidate:
    """A runnable job with waiting shards."""

    job_id: str
    score: float  # in the model's list of unfinished jobs
    shards: list[ShardRef]  # waiting shards that any worker may run
    quarantined: list[ShardRef]  # waiting shards that must run alone in a worker
    deadline_ms: int | None  # ms since the epoch, by the server's clock

    @property
    def priority(self) -> float:
        return -(self.score // PRIORITY_STEP)


class NextShard:
    """Takes the next shard of a model: from the job at the highest priority that was served longest ago.

    Jobs lie on different nodes of a cluster, so the search and the lease are two steps. If another worker takes the
    shard in between, the next shard is tried.
    """

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def take(
        self, model: str, passing_over: Collection[str], lease: Callable[[ShardRef], Lease | None]
    ) -> Leased | RunAlone | None:
        """Implement `ShardWork.lease_next`. `lease` leases a shard, or returns None if another worker was faster."""
        for _ in range(ROUNDS):
            others_were_faster, passed_over = False, None
            for job in self._candidates(model):
                if job.job_id in passing_over:
                    passed_over = job
                    continue
                if passed_over is not None and job.priority < passed_over.priority:
                    break
                for shard in job.shards:
                    with self._server.damage.skipping():
                        if leased := lease(shard):
                            self._index.mark_served(model, job.job_id, job.score)
                            return Leased(leased)
                        others_were_faster = True
                if job.quarantined and not job.shards and not self._late(job):
                    self._index.mark_served(model, job.job_id, job.score)
                    return RunAlone(random.choice(job.quarantined))
            if not others_were_faster:
                return None
        return None

    def _candidates(self, model: str) -> Iterator[_Candidate]:
        """Iterate over runnable jobs with waiting shards, next to serve first."""
        first = 0
        while look := self._index.next_jobs(model, first, JOBS_PER_LOOK):
            first += len(look)
            commands: list[Command] = []
            for keys in (JobKeys(job_id) for job_id, _ in look):
                commands.append(("HMGET", keys.meta, "state", "deadline_ms", "cancel_requested", "paused"))
                commands.append(("ZRANGE", keys.open, 0, SHARDS_PER_LOOK - 1, "WITHSCORES"))
            replies = self._server.replies(commands)
            for (job_id, score), meta, waiting in zip(look, replies[::2], replies[1::2], strict=True):
                candidate, keys = None, JobKeys(job_id)
                with self._server.damage.skipping(), reading(keys.meta):
                    state, deadline, *held_up = sound(meta)
                    if sound(waiting) and state in _RUNNABLE and b"1" not in held_up:
                        shards = self._shards(job_id, scored(waiting))
                        candidate = _candidate(job_id, score, shards, int(deadline) if deadline else None)
                if candidate is not None:
                    yield candidate

    def _shards(self, job_id: str, waiting: list[tuple[bytes, float]]) -> list[tuple[ShardRef, float]]:
        """Return waiting shards, each with its score in `open`."""
        key, numbers = JobKeys(job_id).open, self._server.damage.numbers
        return [(ShardRef(job_id, index), score) for member, score in waiting for index in numbers(key, [member])]

    def _late(self, job: _Candidate) -> bool:
        """Return whether the job's deadline has passed. Recovery ends such a job.

        A lease makes this check itself, but a quarantined shard is returned without a lease.
        """
        return job.deadline_ms is not None and self._server.now() * 1000 >= job.deadline_ms


def _candidate(job_id: str, score: float, waiting: list[tuple[ShardRef, float]], deadline_ms: int | None) -> _Candidate:
    shards: list[ShardRef] = []
    quarantined: list[ShardRef] = []
    for shard, place in waiting:
        (quarantined if place >= QUARANTINE_SCORE else shards).append(shard)
    return _Candidate(job_id, score, shards, quarantined, deadline_ms)


class SlowShards:
    """Finds shards that may need a backup. Takes two round trips if no shard is held, and four otherwise."""

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def held_for(self, min_seconds: float, model: str, worker_id: str) -> Iterator[ShardRef]:
        """Iterate over shards that other workers have held for at least `min_seconds`, the longest-held first.

        Leaves out jobs that have a waiting shard.
        """
        held = list(self._held(model))
        if not held:
            return
        latest_ms = (self._server.now() - min_seconds) * 1000
        names = [JobKeys(shard.job_id).shard(shard.index) for shard in held]
        replies = self._server.replies(("HMGET", name, "leased_at_ms", "worker") for name in names)
        since: list[tuple[int, ShardRef]] = []
        for shard, name, reply in zip(held, names, replies, strict=True):
            with self._server.damage.skipping(), reading(name):
                leased_at, worker = sound(reply)
                if leased_at is not None and worker != worker_id.encode() and int(leased_at) <= latest_ms:
                    since.append((int(leased_at), shard))
        yield from (shard for _, shard in sorted(since))

    def _held(self, model: str) -> Iterator[ShardRef]:
        job_ids = [job_id for job_id, _ in self._index.next_jobs(model, 0, JOBS_PER_LOOK)]
        commands: list[Command] = []
        for keys in map(JobKeys, job_ids):
            commands += [("ZCARD", keys.open), ("ZRANGE", keys.leases, 0, HELD_PER_LOOK - 1)]
        replies = self._server.replies(commands) if commands else []
        for job_id, waiting, leased in zip(job_ids, replies[::2], replies[1::2], strict=True):
            indexes: list[int] = []
            with self._server.damage.skipping():
                indexes = [] if sound(waiting) else self._server.damage.numbers(JobKeys(job_id).leases, sound(leased))
            yield from (ShardRef(job_id, index) for index in indexes)
