"""How a job's memory is freed."""

from __future__ import annotations

from jobs import keys
from jobs.errors import JobNotFound, RecordDamaged
from jobs.keys import JobKeys
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_record import Hash, spec_of
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import not_ended

SHARDS_A_COMMAND = 250  # keys are freed in commands small enough not to keep the server from others


class Deletion:
    """A job is marked first, which hides it, and `meta` goes last: a deletion that breaks off is finished by the next
    `delete` or listing.
    """

    def __init__(self, server: RedisServer, index: JobIndex) -> None:
        self._server = server
        self._index = index

    def delete(self, job_id: str) -> None:
        """Raises `JobNotFound`, or `JobConflict` while the job is queued or running."""
        meta = JobKeys(job_id).meta
        reply = self._server.script("begin_delete", [meta])
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply != "ok":
            raise not_ended(job_id, reply, "deleted")
        self.clear_away(job_id, self._server.run("HGETALL", meta))

    def clear_away(self, job_id: str, meta: Hash) -> None:
        """Free what is left of a job that is marked as deleted, or of which only index entries are left."""
        if meta:
            self._free_keys(job_id, meta)
        self._index.drop_gone(job_id)

    def _free_keys(self, job_id: str, meta: Hash) -> None:
        fingerprint = meta.get(b"run_fingerprint")
        if fingerprint and self._server.run("HGET", keys.RUNS, fingerprint) == job_id.encode():
            self._server.run("HDEL", keys.RUNS, fingerprint)
        try:
            spec = spec_of(job_id, meta)
        except RecordDamaged:  # what is listed under its key and its model is removed by whoever reads that
            self._free_what_is_there(JobKeys(job_id))
            return
        names = JobKeys(job_id)
        for first in range(0, spec.num_shards, SHARDS_A_COMMAND):
            shards = range(first, min(first + SHARDS_A_COMMAND, spec.num_shards))
            self._server.run("UNLINK", *(key for index in shards for key in names.of_shard(index)))
        if spec.key is not None:
            self._server.script("replace", [keys.submission(spec.key)], job_id, "")
        self._server.run("UNLINK", *names.shared())
        self._index.drop_ended(spec.model, job_id)

    def _free_what_is_there(self, names: JobKeys) -> None:
        """Free a job of which nobody knows how many shards it has: its keys are looked for, which takes longer."""
        cursor, shared = 0, names.shared()
        while True:
            cursor, found = self._server.run("SCAN", cursor, "MATCH", names.pattern, "COUNT", 1000)
            of_shards = [key for key in found if key.decode() not in shared]
            if of_shards:
                self._server.run("UNLINK", *of_shards)
            if int(cursor) == 0:
                break
        self._server.run("UNLINK", *shared)
