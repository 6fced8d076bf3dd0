"""Find shards of unfinished jobs that nobody holds, and end jobs that are cancelled or late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.keys import JobKeys
from jobs.records.completion import ErrorCode
from jobs.records.job import Job, JobState, ShardRef
from jobs.stores.damage import numbers, sound
from jobs.stores.packing import encode_completion, unpack_prompts
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.connection.server import Command, RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_record import job_of
from jobs.stores.rules import worker_lost_line


@dataclass(frozen=True)
class _Found:
    job_id: str
    job: Job | None  # None if deleted
    open: list[ShardRef]  # never leased, released, or dropped by an earlier call
    expired: list[ShardRef]  # shards whose lease has expired
    now: float  # seconds since the epoch, by the server's clock


class RedisRecovery:
    """Implements `ShardRecovery`.

    Any worker may call it at any time: when two workers find the same shard, only one of them changes it. A search of
    all of a model's jobs takes three round trips when nothing is wrong.
    """

    def __init__(self, server: RedisServer, index: JobIndex, closer: ShardCloser) -> None:
        self._server = server
        self._index = index
        self._closer = closer

    def recoverable_shards(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        # Shards of just-dropped leases come first, then waiting shards. Within each group, jobs keep their order.
        lost: list[ShardRef] = []
        waiting: list[ShardRef] = []
        for found in self._look(model, limit):
            with self._server.damage.skipping():
                if found.job is None or found.job.state.ended:
                    self._index.drop_ended(model, found.job_id)
                elif found.job.ending or self._deadline_passes(found):
                    self._close_unheld(found.job, found.open + found.expired)
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
                if self._drop_lease(shard):
                    dropped.append(shard)
        return dropped

    def _drop_lease(self, shard: ShardRef) -> bool:
        """Drop a shard's expired lease. Returns True if the shard needs a worker now."""
        keys, index = JobKeys(shard.job_id), shard.index
        names = [keys.shard(index), keys.running(index), keys.open, keys.leases, keys.meta]
        reply = self._server.script("drop_expired", names, index)
        if reply == "fail_line":
            reply = self._fail_line(shard)
        return bool(reply == "open")

    def _fail_line(self, shard: ShardRef) -> str:
        """Give the first pending line, which crashes its workers, an error. Returns the reply of `fail_line.lua`."""
        keys, index, reply = JobKeys(shard.job_id), shard.index, "changed"
        names = [keys.meta, keys.shard(index), keys.running(index), keys.open, keys.leases]
        while reply == "changed":
            done, source = self._server.pipeline(
                [("HKEYS", keys.running(index)), ("GET", keys.input(index))], atomic=True
            )
            if source is None:  # deleted meanwhile
                return "no"
            have, prompts = numbers(keys.running(index), done), unpack_prompts(source, keys.input(index))
            first = next((prompt for prompt in prompts if prompt.index not in have), None)
            if first is None:
                return "no"
            line = encode_completion(worker_lost_line(first))
            reply = self._server.script("fail_line", names, index, len(have), first.index, line, ErrorCode.WORKER_LOST)
        return reply

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
        """Return whether the job's deadline has passed. If so, mark the job as expired."""
        if found.job is None or found.job.deadline_at is None or found.job.deadline_at > found.now:
            return False
        keys = JobKeys(found.job_id)
        return bool(self._server.script("expire_job", [keys.meta, keys.open, keys.leases]))

    def _close_unheld(self, job: Job, shards: list[ShardRef]) -> None:
        ended = False
        for shard in shards:
            with self._server.damage.skipping():
                ended = self._closer.close_unheld(shard) or ended
        if ended:
            self._index.drop_ended(job.spec.model, job.id)
