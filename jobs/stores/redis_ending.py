"""How a client ends a job early, and how it opens failed lines again."""

from __future__ import annotations

from jobs.completion import Completion
from jobs.errors import JobNotFound
from jobs.job import Job, ShardRef
from jobs.keys import JobKeys
from jobs.stores.packing import encode_completion, unpack_completions
from jobs.stores.redis_closing import ShardCloser
from jobs.stores.redis_index import JobIndex
from jobs.stores.redis_reading import JobReader
from jobs.stores.redis_server import RedisServer
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
        for index in unheld + expired:
            self._closer.close_cancelled(ShardRef(job_id, int(index)))
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

    def retry(self, job_id: str) -> list[ShardRef]:
        job = self._reader.job(job_id)
        if not job.state.ended:
            raise not_ended(job_id, job.state, "retried")
        if job.failed == 0:
            return []
        if self._server.run("HGET", JobKeys(job_id).meta, "opened_at_ms") is None:
            raise never_opened(job_id)
        self._index.add(job.spec)
        opened = [shard for shard in self._failed_shards(job) if self._reopen(shard)]
        self._index.add(job.spec)
        self._index.announce(job.spec)
        return opened

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
        completions = unpack_completions(packed)
        kept = [completion for completion in completions if completion.error is None]
        names = [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open]
        args = (index, len(completions) - len(kept), *_fields(kept))
        return bool(self._server.script("reopen_shard", names, *args) == "ok")


def _fields(completions: list[Completion]) -> list[int | bytes]:
    return [value for completion in completions for value in (completion.index, encode_completion(completion))]
