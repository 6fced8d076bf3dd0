"""Recover the shards of lost workers in the memory store."""

from __future__ import annotations

from jobs.records.job import JobState, ShardRef
from jobs.stores.memory.table import JobTable


class MemoryRecovery:
    """Implements `ShardRecovery`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def recoverable_shards(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        with self._table.lock:
            now = self._table.clock()
            lost: list[ShardRef] = []
            waiting: list[ShardRef] = []
            for job in self._table.unfinished(model):
                if job.late(now) and not job.ending:
                    job.deadline_passed = True
                if job.ending:
                    job.close_unheld(now)
                elif job.state is not JobState.VALIDATING:
                    dropped = job.drop_expired(limit - len(lost), now)
                    if not job.paused:
                        lost += [ShardRef(job.spec.id, index) for index in dropped]
                        waiting += [ShardRef(job.spec.id, index) for index in job.waiting()]
            found = lost if expired_only else list(dict.fromkeys(lost + waiting))
            return found[:limit]
