"""Holding a job up for a while."""

from __future__ import annotations

from jobs.errors import JobNotFound
from jobs.keys import JobKeys
from jobs.records.job import Job, ShardRef
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import not_running


class Pausing:
    """A flag that leases and renewals look at; both calls may be repeated."""

    def __init__(self, server: RedisServer, index: JobIndex, reader: JobReader) -> None:
        self._server = server
        self._index = index
        self._reader = reader

    def pause(self, job_id: str) -> Job:
        self._set(job_id, paused=True)
        return self._reader.job(job_id)

    def resume(self, job_id: str) -> list[ShardRef]:
        self._set(job_id, paused=False)
        self._index.announce(self._reader.job(job_id).spec)
        key = JobKeys(job_id).open
        return [
            ShardRef(job_id, index)
            for index in self._server.damage.numbers(key, self._server.run("ZRANGE", key, 0, -1))
        ]

    def _set(self, job_id: str, paused: bool) -> None:
        reply = self._server.script("pause", [JobKeys(job_id).meta], int(paused))
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply != "ok":
            raise not_running(job_id, reply, "paused" if paused else "resumed")
