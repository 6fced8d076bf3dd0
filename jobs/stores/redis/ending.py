"""How a client ends a job early, and how it opens failed lines again."""

from __future__ import annotations

from jobs.errors import JobNotFound
from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import Job, ShardRef
from jobs.stores.packing import encode_completion, unpack_completions
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.lost_results import LostResults
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import never_opened, not_ended


class Cancellation:
    """Sets the flag, then closes one open shard after the other; `stranded` goes on where this breaks off."""

    def __init__(self, server: RedisServer, index: JobIndex, reader: JobReader, closer: ShardCloser) -> None:
        self._server = server
        self._index = index
        self._reader = reader
        self._closer = closer

    def request(self, job_id: str) -> Job:
        keys = JobKeys(job_id)
        if self._server.script("request_cancel", [keys.meta, keys.open, keys.leases]) == "missing":
            raise JobNotFound(job_id)
        now_ms = int(self._server.now() * 1000)
        unheld, expired = self._server.pipeline(
            [("ZRANGE", keys.open, 0, -1), ("ZRANGEBYSCORE", keys.leases, "-inf", now_ms)]
        )
        numbers = self._server.damage.numbers
        for index in numbers(keys.open, unheld) + numbers(keys.leases, expired):
            self._closer.close_cancelled(ShardRef(job_id, index))
        job = self._reader.job(job_id)
        if job.state.ended:
            self._index.drop_ended(job.spec.model, job_id)
        return job


class Retry:
    """Opens one shard after the other; what a crash leaves failed, the next `retry` opens."""

    def __init__(self, server: RedisServer, index: JobIndex, reader: JobReader) -> None:
        self._server = server
        self._index = index
        self._reader = reader
        self._lost = LostResults(server, index, reader)

    def retry(self, job_id: str) -> list[ShardRef]:
        job = self._ended(job_id)
        if self._server.run("HGET", JobKeys(job_id).meta, "opened_at_ms") is None:
            raise never_opened(job_id)
        opened = self._lost.reopen(job)
        if job.failed:
            self._index.add(job.spec)
            opened += [shard for shard in self._failed_shards(job) if self._reopen(shard)]
            self._index.add(job.spec)
        if opened:
            self._index.announce(job.spec)
        return sorted(opened)

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        job = self._ended(job_id)
        opened = self._lost.reopen(job)
        if opened:
            self._index.announce(job.spec)
        return opened

    def _ended(self, job_id: str) -> Job:
        job = self._reader.job(job_id)
        if not job.state.ended:
            raise not_ended(job_id, job.state, "retried")
        return job

    def _failed_shards(self, job: Job) -> list[ShardRef]:
        keys = JobKeys(job.id)
        shards = range(job.spec.num_shards)
        failed = self._server.pipeline(("HGET", keys.shard(index), "failed") for index in shards)
        return [ShardRef(job.id, index) for index, count in zip(shards, failed, strict=True) if count and int(count)]

    def _reopen(self, shard: ShardRef) -> bool:
        keys, index = JobKeys(shard.job_id), shard.index
        packed = self._server.run("GET", keys.results(index))
        if packed is None:  # another client's `retry` was faster
            return False
        completions = unpack_completions(packed, keys.results(index))
        kept = [completion for completion in completions if completion.error is None]
        names = [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open]
        args = (index, len(completions) - len(kept), *_fields(kept))
        return bool(self._server.script("reopen_shard", names, *args) == "ok")


def _fields(completions: list[Completion]) -> list[int | bytes]:
    return [value for completion in completions for value in (completion.index, encode_completion(completion))]
