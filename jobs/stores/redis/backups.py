"""Second runners: near the end of a job, workers with nothing to do run the pending lines of slow shards, too."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.keys import JobKeys
from jobs.records.job import Lease, ShardRef
from jobs.stores.damage import reading, sound
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.server import Command, RedisServer

JOBS_A_LOOK = 32  # next in turn
SHARDS_A_LOOK = 64  # of each job


def may_work(held: bytes | None, backup: bytes | None, token: int) -> bool:
    """Whether a token is a shard's holder's, or its second runner's while it has a holder (`scripts/common.lua`)."""
    return held is not None and token in (int(held), int(backup or 0))


class Backups:
    """A look costs two exchanges when nothing is held, four when something is; one more makes a second runner."""

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def back_up(self, model: str, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        for shard in self._long_held(model, worker_id, least_seconds):
            keys = JobKeys(shard.job_id)
            args = (shard.index, worker_id, round(ttl_seconds * 1000), round(least_seconds * 1000))
            with self._server.damage.skipping():
                reply = self._server.script("back_up", [keys.meta, keys.shard(shard.index), keys.leases], *args)
                if reply is not None:
                    token, attempt = reply
                    return Lease(shard, worker_id, token, attempt, backup=True)
        return None

    def _long_held(self, model: str, worker_id: str, least_seconds: float) -> Iterator[ShardRef]:
        """Shards of jobs of which nothing waits, that others have held for so long; of each job the longest first."""
        held = list(self._held(model))
        if not held:
            return
        latest_ms = (self._server.now() - least_seconds) * 1000
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
        job_ids = [job_id for job_id, _ in self._index.turns(model, 0, JOBS_A_LOOK)]
        commands: list[Command] = []
        for keys in map(JobKeys, job_ids):
            commands += [("ZCARD", keys.open), ("ZRANGE", keys.leases, 0, SHARDS_A_LOOK - 1)]
        replies = self._server.replies(commands) if commands else []
        for job_id, waiting, leased in zip(job_ids, replies[::2], replies[1::2], strict=True):
            indexes: list[int] = []
            with self._server.damage.skipping():
                indexes = [] if sound(waiting) else self._server.damage.numbers(JobKeys(job_id).leases, sound(leased))
            yield from (ShardRef(job_id, index) for index in indexes)
