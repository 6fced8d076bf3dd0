"""The jobs of the memory store, and what several of its methods do with them."""

from __future__ import annotations

import math
from collections.abc import Callable

from jobs.errors import JobNotFound
from jobs.records.job import JobState, Lease, ShardRef
from jobs.stores.memory.job import MemoryJob
from jobs.stores.memory.shard import MemoryShard
from jobs.stores.rules import SLOW_FACTOR, lease_lost, not_ended, not_running, not_validating


class MemoryJobs:
    """Not thread-safe: the store that this is a part of holds its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: dict[str, MemoryJob] = {}

    def _job(self, job_id: str) -> MemoryJob:
        if job_id not in self._jobs:
            raise JobNotFound(job_id)
        return self._jobs[job_id]

    def _unfinished(self, model: str) -> list[MemoryJob]:
        """A model's jobs that have not ended, next in turn first."""
        jobs = [job for job in self._jobs.values() if job.spec.model == model and not job.state.ended]
        return sorted(jobs, key=lambda job: (-job.spec.priority, job.served_at, job.spec.id))

    def _validating(self, job_id: str) -> MemoryJob:
        job = self._job(job_id)
        if job.ending:
            raise not_validating(job_id, "cancelled")
        return job

    def _running(self, job_id: str, wish: str) -> MemoryJob:
        job = self._job(job_id)
        if job.ending or job.state not in (JobState.QUEUED, JobState.IN_PROGRESS):
            raise not_running(job_id, "ending" if not job.state.ended and job.ending else job.state, wish)
        return job

    def _ended(self, job_id: str) -> MemoryJob:
        job = self._job(job_id)
        if not job.state.ended:
            raise not_ended(job_id, job.state, "retried")
        return job

    def _held(self, lease: Lease) -> MemoryShard | None:
        job = self._jobs.get(lease.shard.job_id)
        shard = job.shards[lease.shard.index] if job else None
        if shard is None or shard.may_work(lease):
            return shard
        shard.absolve(lease.token)
        return None

    def _own(self, lease: Lease) -> MemoryShard:
        shard = self._held(lease)
        if shard is None:
            raise lease_lost(lease)
        return shard

    def _back_up(self, shard: ShardRef, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        """Make a worker the second runner of a shard, if that is slow."""
        job, now = self._job(shard.job_id), self._clock()
        lines = job.shards[shard.index]
        if lines.lease is None or lines.expired(now) or lines.lease.worker_id == worker_id or job.late(now):
            return None
        if lines.lines_at_a_time is not None or lines.expiries or (lines.backup and lines.backup_until > now):
            return None
        usual = sum(job.held_seconds) / len(job.held_seconds) if job.held_seconds else math.inf
        if now - lines.leased_at < max(least_seconds, SLOW_FACTOR * usual):
            return None
        lines.token += 1
        lines.backup = Lease(shard, worker_id, lines.token, lines.attempts, backup=True)
        lines.backup_until = now + ttl_seconds
        return lines.backup

    def _close_unheld(self, job: MemoryJob) -> None:
        now = self._clock()
        for shard in job.shards.values():
            if not shard.closed and (shard.lease is None or shard.expired(now)):
                job.close(shard, [job.ending_line(prompt) for prompt in shard.pending()], now)
        job.end_if_all_done(now)

    def _drop_expired(self, job: MemoryJob, limit: int) -> list[ShardRef]:
        now = self._clock()
        dropped: list[ShardRef] = []
        job.count_time(now)
        for index, shard in sorted(job.shards.items()):
            if shard.expired(now) and len(dropped) < limit:
                shard.drop_expired()
                dropped.append(ShardRef(job.spec.id, index))
        return dropped
