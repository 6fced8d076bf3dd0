"""Recovery: shards of unfinished jobs that nobody holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.keys import JobKeys
from jobs.records.job import Job, JobState, ShardRef
from jobs.stores.damage import sound
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_record import job_of
from jobs.stores.redis.poison import SilentWorkers
from jobs.stores.redis.server import Command, RedisServer


@dataclass(frozen=True)
class _Found:
    job_id: str
    job: Job | None  # None: deleted
    open: list[ShardRef]  # never leased, released, or dropped by an earlier sweep
    expired: list[ShardRef]  # their workers have fallen silent
    now: float  # seconds since the epoch, by the server's clock


class Sweep:
    """Three exchanges with the server for all of a model's jobs when nothing is wrong. Any worker may call it at any
    time: what two of them find at once is done once.
    """

    def __init__(self, server: RedisServer, index: JobIndex, closer: ShardCloser) -> None:
        self._server = server
        self._index = index
        self._closer = closer
        self._silent = SilentWorkers(server)

    def stranded(self, model: str, limit: int, expired_only: bool) -> list[ShardRef]:
        """At most `limit` shards: those whose worker has just been lost before those that wait, old jobs first."""
        lost: list[ShardRef] = []
        waiting: list[ShardRef] = []
        for found in self._look(model, limit):
            with self._server.damage.skipping():
                if found.job is None or found.job.state.ended:
                    self._index.drop_ended(model, found.job_id)
                elif found.job.ending or self._deadline_passes(found):
                    self._close_cancelled(found.job, found.open + found.expired)
                elif found.job.state != JobState.VALIDATING:
                    dropped = self._drop(found.expired[: limit - len(lost)])
                    if not found.job.paused:
                        lost += dropped
                        waiting += [] if expired_only else found.open
        return list(dict.fromkeys(lost + waiting))[:limit]

    def _drop(self, expired: list[ShardRef]) -> list[ShardRef]:
        dropped: list[ShardRef] = []
        for shard in expired:
            with self._server.damage.skipping():
                if self._silent.drop(shard):
                    dropped.append(shard)
        return dropped

    def _look(self, model: str, limit: int) -> Iterator[_Found]:
        ids = self._index.unfinished(model)
        if not ids:
            return
        now_ms = int(self._server.now() * 1000)
        commands: list[Command] = []
        for keys in map(JobKeys, ids):
            commands += [
                ("HGETALL", keys.meta),
                ("ZRANGE", keys.open, 0, limit - 1),
                ("ZRANGEBYSCORE", keys.leases, "-inf", now_ms, "LIMIT", 0, limit),
            ]
        replies = self._server.replies(commands)
        for job_id, meta, unheld, expired in zip(ids, replies[::3], replies[1::3], replies[2::3], strict=True):
            found, keys = None, JobKeys(job_id)
            with self._server.damage.skipping():
                job = job_of(job_id, sound(meta))
                open_refs, expired_refs = (
                    self._refs(job_id, keys.open, unheld),
                    self._refs(job_id, keys.leases, expired),
                )
                found = _Found(job_id, job, open_refs, expired_refs, now_ms / 1000)
            if found is not None:
                yield found

    def _refs(self, job_id: str, key: str, reply: Any) -> list[ShardRef]:  # noqa: ANN401 - a reply
        return [ShardRef(job_id, index) for index in self._server.damage.numbers(key, sound(reply))]

    def _deadline_passes(self, found: _Found) -> bool:
        """Whether the job's deadline has passed, and it is to end now."""
        if found.job is None or found.job.deadline_at is None or found.job.deadline_at > found.now:
            return False
        keys = JobKeys(found.job_id)
        return bool(self._server.script("expire_job", [keys.meta, keys.open, keys.leases]))

    def _close_cancelled(self, job: Job, shards: list[ShardRef]) -> None:
        ended = False
        for shard in shards:
            with self._server.damage.skipping():
                ended = self._closer.close_cancelled(shard) or ended
        if ended:
            self._index.drop_ended(job.spec.model, job.id)
