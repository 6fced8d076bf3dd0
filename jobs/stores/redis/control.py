"""Cancel, pause, resume, retry and delete jobs."""

from __future__ import annotations

from jobs import keys
from jobs.errors import JobNotFound, RecordDamaged
from jobs.keys import JobKeys
from jobs.records.job import Job, ShardRef
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_reader import RedisJobReader
from jobs.stores.redis.job_record import Hash, spec_of
from jobs.stores.redis.reopening import Reopening
from jobs.stores.rules import never_opened, not_ended, not_running

SHARDS_PER_COMMAND = 250  # max shards per UNLINK: a larger command would block the server for other clients


class JobRemover:
    """Frees the keys of a job that is marked as deleted.

    `meta` is freed last, so that an interrupted removal can continue.
    """

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def remove(self, job_id: str, meta: Hash) -> None:
        """Free the rest of a job that is marked as deleted, or that has only index entries left."""
        if meta:
            self._free_keys(job_id, meta)
        self._index.drop_gone(job_id)

    def _free_keys(self, job_id: str, meta: Hash) -> None:
        fingerprint = meta.get(b"run_fingerprint")
        if fingerprint and self._server.run("HGET", keys.RUNS, fingerprint) == job_id.encode():
            self._server.run("HDEL", keys.RUNS, fingerprint)
        try:
            spec = spec_of(job_id, meta)
        except RecordDamaged:  # readers of its submission key and its model's list remove these entries
            self._free_what_is_there(JobKeys(job_id))
            return
        names = JobKeys(job_id)
        for first in range(0, spec.num_shards, SHARDS_PER_COMMAND):
            shards = range(first, min(first + SHARDS_PER_COMMAND, spec.num_shards))
            self._server.run("UNLINK", *(key for index in shards for key in names.of_shard(index)))
        if spec.key is not None:
            self._server.script("replace", [keys.submission(spec.key)], job_id, "")
        self._server.run("UNLINK", *names.shared())
        self._index.drop_ended(spec.model, job_id)

    def _free_what_is_there(self, names: JobKeys) -> None:
        """Free a job whose spec is damaged. Its number of shards is unknown, so SCAN finds its keys; this is slower."""
        cursor, shared = 0, names.shared()
        while True:
            cursor, found = self._server.run("SCAN", cursor, "MATCH", names.pattern, "COUNT", 1000)
            of_shards = [key for key in found if key.decode() not in shared]
            if of_shards:
                self._server.run("UNLINK", *of_shards)
            if int(cursor) == 0:
                break
        self._server.run("UNLINK", *shared)


class RedisJobControl:
    """Implements `JobControl`. The next call, or recovery, completes a change of many shards that was interrupted.

    Cancelling sets a flag, then closes one open shard after the other. Retrying opens one shard after the other.
    Pausing sets a flag that leases and renewals check. Deleting first marks the job, which hides it.
    """

    def __init__(
        self, server: RedisServer, index: JobIndex, reader: RedisJobReader, closer: ShardCloser, remover: JobRemover
    ) -> None:
        self._server = server
        self._index = index
        self._reader = reader
        self._closer = closer
        self._remover = remover
        self._reopening = Reopening(server, index, reader)

    def request_cancel(self, job_id: str) -> Job:
        keys = JobKeys(job_id)
        if self._server.script("request_cancel", [keys.meta, keys.open, keys.leases]) == "missing":
            raise JobNotFound(job_id)
        now_ms = int(self._server.now() * 1000)
        unheld, expired = self._server.pipeline(
            [("ZRANGE", keys.open, 0, -1), ("ZRANGEBYSCORE", keys.leases, "-inf", now_ms)]
        )
        numbers = self._server.damage.numbers
        for index in numbers(keys.open, unheld) + numbers(keys.leases, expired):
            self._closer.close_unheld(ShardRef(job_id, index))
        job = self._reader.get(job_id)
        if job.state.ended:
            self._index.drop_ended(job.spec.model, job_id)
        return job

    def pause(self, job_id: str) -> Job:
        self._set_paused(job_id, paused=True)
        return self._reader.get(job_id)

    def resume(self, job_id: str) -> list[ShardRef]:
        self._set_paused(job_id, paused=False)
        self._index.notify(self._reader.get(job_id).spec)
        return self._reader.open_shards(job_id)

    def _set_paused(self, job_id: str, paused: bool) -> None:
        reply = self._server.script("pause", [JobKeys(job_id).meta], int(paused))
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply != "ok":
            raise not_running(job_id, reply, "paused" if paused else "resumed")

    def retry(self, job_id: str) -> list[ShardRef]:
        job = self._ended(job_id)
        if self._server.run("HGET", JobKeys(job_id).meta, "opened_at_ms") is None:
            raise never_opened(job_id)
        opened = self._reopening.reopen_lost(job)
        if job.failed:
            opened += self._reopening.reopen_failed(job)
        if opened:
            self._index.notify(job.spec)
        return sorted(opened)

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        job = self._ended(job_id)
        opened = self._reopening.reopen_lost(job)
        if opened:
            self._index.notify(job.spec)
        return opened

    def _ended(self, job_id: str) -> Job:
        job = self._reader.get(job_id)
        if not job.state.ended:
            raise not_ended(job_id, job.state, "retried")
        return job

    def delete(self, job_id: str) -> None:
        meta = JobKeys(job_id).meta
        reply = self._server.script("begin_delete", [meta])
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply != "ok":
            raise not_ended(job_id, reply, "deleted")
        self._remover.remove(job_id, self._server.run("HGETALL", meta))
