"""How a job comes into the store: created, its shards added, opened."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import JobNotFound
from jobs.job import NewJob, ShardRef
from jobs.keys import FORMAT, JobKeys
from jobs.prompt import Prompt
from jobs.stores.packing import pack_prompts
from jobs.stores.redis_index import JobIndex
from jobs.stores.redis_reading import JobReader
from jobs.stores.redis_server import RedisServer
from jobs.stores.rules import id_taken, not_validating
from jobs.wire_format import WIRE_FORMAT


class Submission:
    """Every call may be repeated after a broken connection: it changes nothing a second time."""

    def __init__(self, server: RedisServer, index: JobIndex, reader: JobReader) -> None:
        self._server = server
        self._index = index
        self._reader = reader

    def create(self, spec: NewJob) -> None:
        meta, encoded = JobKeys(spec.id).meta, msgspec.json.encode(spec)
        if self._server.run("HGET", meta, "spec") not in (None, encoded):
            raise id_taken(spec.id)
        self._server.run("SET", FORMAT, WIRE_FORMAT, "NX")
        self._index.add(spec)
        reply = self._server.script("create_job", [meta], encoded)
        self._index.add(spec)
        if reply != "ok":
            raise id_taken(spec.id)

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt]) -> None:
        keys = JobKeys(shard.job_id)
        names = [keys.meta, keys.shard(shard.index), keys.input(shard.index), keys.open]
        reply = self._server.script("add_shard", names, shard.index, len(prompts), pack_prompts(prompts))
        _check_validating(shard.job_id, reply)

    def open(self, job_id: str) -> list[ShardRef]:
        keys = JobKeys(job_id)
        spec = self._reader.job(job_id).spec
        deadline = "" if spec.deadline_seconds is None else spec.deadline_seconds
        reply = self._server.script("open_job", [keys.meta, keys.open, keys.leases], spec.num_shards, deadline)
        if reply == "incomplete":
            raise ValueError(f"job {job_id} has not all of its {spec.num_shards} shards")
        _check_validating(job_id, reply)
        if spec.num_shards == 0:
            self._index.drop_ended(spec.model, job_id)
        return [ShardRef(job_id, index) for index in range(spec.num_shards)]


def _check_validating(job_id: str, reply: str) -> None:
    if reply == "missing":
        raise JobNotFound(job_id)
    if reply != "ok":
        raise not_validating(job_id, reply)
