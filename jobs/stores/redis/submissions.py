"""Submit jobs: create a job, add its shards, claim its submission key, open it, extend it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from jobs import keys
from jobs.errors import JobConflict, JobNotFound
from jobs.keys import WIRE_FORMAT, JobKeys
from jobs.records.completion import Completion, Usage
from jobs.records.job import Job, JobState, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.packing import PackedPrompts, encode_completion, pack_completions, pack_prompts
from jobs.stores.redis.connection.server import RedisServer, Word
from jobs.stores.redis.control import RedisJobControl
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_reader import RedisJobReader
from jobs.stores.rules import extended, id_taken, not_extensible, not_validating

OPENING_SECONDS = 2.0  # max time from a claim to `open`; a live client sends only one command in between
POLL_SECONDS = 0.05


class RedisSubmissions:
    """Implements `Submissions`. A call may be repeated after a broken connection: the second call changes nothing.

    A submission key and its jobs lie on different nodes of a cluster, so no script can change both. A claim therefore
    changes only the key. It replaces a holder that no longer stands, if the key still names that holder.
    """

    def __init__(self, server: RedisServer, index: JobIndex, reader: RedisJobReader, control: RedisJobControl) -> None:
        self._server = server
        self._index = index
        self._reader = reader
        self._control = control

    def create(self, spec: NewJob) -> None:
        meta, encoded = JobKeys(spec.id).meta, msgspec.json.encode(spec)
        if self._server.run("HGET", meta, "spec") not in (None, encoded):
            raise id_taken(spec.id)
        self._server.run("SET", keys.FORMAT, WIRE_FORMAT, "NX")
        self._index.add(spec)
        reply = self._server.script("create_job", [meta], encoded)
        self._index.add(spec)
        if reply != "ok":
            raise id_taken(spec.id)

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        encoded = {completion.index: encode_completion(completion) for completion in known}
        lines = msgspec.msgpack.encode([_known_line(line, encoded[line.index]) for line in known])
        whole = pack_completions(encoded) if known and len(known) == len(prompts) else b""
        self._add(shard, pack_prompts(prompts), lines, whole)

    def add_packed_shard(self, shard: ShardRef, prompts: PackedPrompts) -> None:
        self._add(shard, prompts, msgspec.msgpack.encode([]), b"")

    def _add(self, shard: ShardRef, prompts: PackedPrompts, known: bytes, whole: bytes) -> None:
        """Store a shard, some or all of whose lines have completions."""
        names, index = JobKeys(shard.job_id), shard.index
        keys_of_shard = [names.meta, *names.of_shard(index), names.open]
        args = (index, prompts.num_lines, prompts.value, known, whole)
        _check_validating(shard.job_id, self._server.script("add_shard", keys_of_shard, *args))

    def open(self, job_id: str) -> list[ShardRef]:
        names = JobKeys(job_id)
        spec = self._reader.get(job_id).spec
        deadline = "" if spec.deadline_seconds is None else spec.deadline_seconds
        reply = self._server.script("open_job", [names.meta, names.open, names.leases], spec.num_shards, deadline)
        if reply == "incomplete":
            raise ValueError(f"job {job_id} has not all of its {spec.num_shards} shards")
        _check_validating(job_id, reply)
        if self._reader.get(job_id).state.ended:
            self._index.drop_ended(spec.model, job_id)
        else:
            self._index.notify(spec)
        return self._reader.open_shards(job_id)

    def find(self, key: str) -> Job | None:
        holder = self._server.run("GET", keys.submission(key))
        job = self._holder(holder.decode(errors="replace")) if holder is not None else None
        return job if job is not None and job.stands else None

    def claim(self, job_id: str) -> str:
        key = self._reader.get(job_id).spec.key
        if key is None:
            return job_id
        name = keys.submission(key)
        while not self._server.run("SET", name, job_id, "NX"):
            holder = self._server.run("GET", name)
            if holder is None:
                continue
            known = holder.decode(errors="replace")
            if known == job_id or self._stands(known):
                return str(known)
            if self._server.script("replace", [name], holder, job_id):
                break
        return job_id

    def _stands(self, job_id: str) -> bool:
        """Return whether the holder of a key keeps it. Waits for a holder that is still being submitted."""
        deadline = time.monotonic() + OPENING_SECONDS
        while (job := self._holder(job_id)) and job.state is JobState.VALIDATING and not job.cancel_requested:
            if time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._control.delete(job_id)
            except JobConflict:  # the job's client opened it in the meantime
                continue
            except JobNotFound:
                return False
        return job is not None and job.stands

    def _holder(self, job_id: str) -> Job | None:
        with suppress(JobNotFound), self._server.damage.skipping():
            return self._reader.get(job_id)
        return None

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        # One script adds all lines, so that neither a reader nor a crash leaves half of them.
        job = JobKeys(spec.id)
        refs = [ShardRef(spec.id, spec.num_shards + index) for index in range(len(shards))]
        names = [job.meta, job.open]
        args: list[Word] = [spec.num_lines, msgspec.json.encode(extended(spec, shards))]
        for ref, prompts in zip(refs, shards, strict=True):
            names += [job.shard(ref.index), job.input(ref.index)]
            args += [ref.index, len(prompts), pack_prompts(prompts).value]
        self._index.add(spec)
        reply = self._server.script("extend", names, *args)
        self._index.add(spec)
        if reply == "missing":
            raise JobNotFound(spec.id)
        if reply != "ok":
            raise not_extensible(spec.id, reply)
        self._index.notify(spec)
        return refs

    def find_run(self, fingerprint: str) -> str | None:
        value = self._server.run("HGET", keys.RUNS, fingerprint)
        if value is None:
            return None
        job_id = str(value.decode(errors="replace"))
        if self._server.run("HGET", JobKeys(job_id).meta, "state") in (None, b"deleting"):
            self._server.run("HDEL", keys.RUNS, fingerprint)
            return None
        return job_id

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        if not self._server.script("note_run", [JobKeys(job_id).meta], fingerprint):
            raise JobNotFound(job_id)
        self._server.run("HSET", keys.RUNS, fingerprint, job_id)


def _known_line(completion: Completion, encoded: bytes) -> tuple[int, str, str, int, int, dict[str, int]]:
    """Return a known completion as `add_shard.lua` takes it."""
    usage = completion.usage or Usage(0, 0)
    reason = completion.finish_reason or ""
    tokens = (usage.prompt_tokens, usage.completion_tokens)
    return completion.index, encoded.decode(), reason, *tokens, completion.amounts()


def _check_validating(job_id: str, reply: str) -> None:
    if reply == "missing":
        raise JobNotFound(job_id)
    if reply != "ok":
        raise not_validating(job_id, reply)
