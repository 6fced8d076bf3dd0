"""Lease shards of the memory store, renew and release leases, and write results."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from jobs.records.completion import Completion
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats
from jobs.stores.memory.shard import MemoryShard
from jobs.stores.memory.table import JobTable
from jobs.stores.rules import lease_lost
from jobs.stores.worker_facets import Leased, RunAlone


class MemoryShardWork:
    """Implements `ShardWork`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, isolated: bool = False) -> Lease | None:
        with self._table.lock:
            job = self._table.jobs.get(shard.job_id)
            return job.take(shard.index, worker_id, self._table.clock(), ttl_seconds, isolated) if job else None

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Leased | RunAlone | None:
        with self._table.lock:
            now, min_priority = self._table.clock(), -math.inf
            for job in self._table.unfinished(model):
                waiting = job.waiting() if job.runnable and not job.late(now) else []
                if waiting and job.spec.id in passing_over:
                    min_priority = job.spec.priority
                elif waiting and job.spec.priority < min_priority:
                    return None
                elif waiting:
                    job.served_at = now
                    lease = job.take(waiting[0], worker_id, now, ttl_seconds, isolated=False)
                    return Leased(lease) if lease else RunAlone(ShardRef(job.spec.id, waiting[0]))
            return None

    def try_backup(self, model: str, worker_id: str, ttl_seconds: float, min_seconds: float) -> Lease | None:
        with self._table.lock:
            now = self._table.clock()
            for job in self._table.unfinished(model):
                for index in job.shards if job.runnable and not job.late(now) and not job.waiting() else ():
                    if job.is_slow(index, worker_id, now, min_seconds):
                        return job.shards[index].take_backup(ShardRef(job.spec.id, index), worker_id, now + ttl_seconds)
            return None

    def wait_for_notification(self, model: str, since: str | None, timeout_seconds: float) -> str | None:
        return self._table.notifications.wait(model, since, timeout_seconds)

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        return [self._renew(lease, ttl_seconds) for lease in leases]

    def _renew(self, lease: Lease, ttl_seconds: float) -> LeaseStatus:
        with self._table.lock:
            shard = self._valid(lease)
            if shard is None:
                return LeaseStatus.LOST
            job, now = self._table.get(lease.shard.job_id), self._table.clock()
            if lease.backup:
                shard.backup_until = now + ttl_seconds
            else:
                job.count_time(now)
                shard.expires_at = now + shard.time_to_live(ttl_seconds)
            if job.ending:
                return LeaseStatus.CANCELLED
            return LeaseStatus.PAUSED if job.paused else LeaseStatus.HELD

    def release(self, lease: Lease) -> bool:
        with self._table.lock:
            shard = self._valid(lease)
            if shard is None:
                return False
            if lease.backup:
                shard.backup = None
                return False
            job, now = self._table.get(lease.shard.job_id), self._table.clock()
            job.count_time(now)
            shard.unhold()
            if job.ending:
                job.close_unheld(now)
            return not job.ending and not job.paused

    def pending(self, lease: Lease) -> list[Prompt]:
        with self._table.lock:
            return self._held(lease).pending()[: lease.lines_at_a_time]

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        with self._table.lock:
            self._held(lease)
            return self._table.get(lease.shard.job_id).write(lease, list(completions), self._table.clock())

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        with self._table.lock:
            shard = self._held(lease)
            job, missing, now = self._table.get(lease.shard.job_id), shard.pending(), self._table.clock()
            if missing and not job.ending:
                raise ValueError(f"shard {lease.shard.index} of job {job.spec.id} lacks {len(missing)} results")
            job.counters.add_shard(stats)
            job.held_seconds.append(now - shard.leased_at)
            return job.close(shard, [job.ending_line(prompt) for prompt in missing], now)

    def give_up(self, lease: Lease, why: str) -> bool:
        with self._table.lock:
            shard = self._held(lease)
            job = self._table.get(lease.shard.job_id)
            job.error = job.error or why
            return job.close(shard, [], self._table.clock())

    def _held(self, lease: Lease) -> MemoryShard:
        shard = self._valid(lease)
        if shard is None:
            raise lease_lost(lease)
        return shard

    def _valid(self, lease: Lease) -> MemoryShard | None:
        """Return the shard of a valid lease, or None. The use of an outdated lease proves that its worker is alive."""
        job = self._table.jobs.get(lease.shard.job_id)
        shard = job.shards[lease.shard.index] if job else None
        if shard is None or shard.may_work(lease):
            return shard
        shard.uncount_crash(lease.token)
        return None
