"""How a job comes into the store: created, its shards added, opened."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.errors import JobNotFound
from jobs.keys import FORMAT, JobKeys
from jobs.records.completion import Completion, Usage
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.packing import encode_completion, pack_completions, pack_prompts
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer
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

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion]) -> None:
        keys, index = JobKeys(shard.job_id), shard.index
        names = [keys.meta, *keys.of_shard(index), keys.open]
        encoded = {completion.index: encode_completion(completion) for completion in known}
        lines = msgspec.msgpack.encode([_known_line(line, encoded[line.index]) for line in known])
        whole = pack_completions(encoded) if known and len(known) == len(prompts) else b""
        reply = self._server.script("add_shard", names, index, len(prompts), pack_prompts(prompts), lines, whole)
        _check_validating(shard.job_id, reply)

    def open(self, job_id: str) -> list[ShardRef]:
        keys = JobKeys(job_id)
        spec = self._reader.job(job_id).spec
        deadline = "" if spec.deadline_seconds is None else spec.deadline_seconds
        reply = self._server.script("open_job", [keys.meta, keys.open, keys.leases], spec.num_shards, deadline)
        if reply == "incomplete":
            raise ValueError(f"job {job_id} has not all of its {spec.num_shards} shards")
        _check_validating(job_id, reply)
        if self._reader.job(job_id).state.ended:
            self._index.drop_ended(spec.model, job_id)
        else:
            self._index.announce(spec)
        return [
            ShardRef(job_id, index)
            for index in self._server.damage.numbers(keys.open, self._server.run("ZRANGE", keys.open, 0, -1))
        ]


def _known_line(completion: Completion, encoded: bytes) -> tuple[int, str, str, int, int]:
    """One line as `add_shard.lua` takes it."""
    usage = completion.usage or Usage(0, 0)
    reason = completion.finish_reason or ""
    return completion.index, encoded.decode(), reason, usage.prompt_tokens, usage.completion_tokens


def _check_validating(job_id: str, reply: str) -> None:
    if reply == "missing":
        raise JobNotFound(job_id)
    if reply != "ok":
        raise not_validating(job_id, reply)
