"""What a client reads of jobs: state, figures, results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from jobs.completion import Completion
from jobs.errors import JobNotFound, StoreFull
from jobs.job import Job, ShardRef
from jobs.keys import JobKeys
from jobs.prompt import Prompt
from jobs.shard_stats import TimelineSample
from jobs.stats import JobStats
from jobs.stats_from_counters import job_stats
from jobs.stores.packing import decode_completion, unpack_completions, unpack_prompts
from jobs.stores.redis_deletion import Deletion
from jobs.stores.redis_index import JobIndex
from jobs.stores.redis_job_record import counters_of, job_of
from jobs.stores.redis_server import RedisServer

SHARDS_A_READ = 4  # shards in memory at once: `results` holds no more, whatever the job's size

_sample = msgspec.json.Decoder(TimelineSample)


class JobReader:
    """Every method but `jobs` raises `JobNotFound`."""

    def __init__(self, server: RedisServer, index: JobIndex, deletion: Deletion) -> None:
        self._server = server
        self._index = index
        self._deletion = deletion

    def job(self, job_id: str) -> Job:
        job = job_of(self._server.run("HGETALL", JobKeys(job_id).meta))
        if job is None:
            raise JobNotFound(job_id)
        return job

    def jobs(self, limit: int) -> list[Job]:
        ids = self._index.newest(limit)
        metas = self._server.pipeline(("HGETALL", JobKeys(job_id).meta) for job_id in ids)
        for job_id, meta in zip(ids, metas, strict=True):
            if job_of(meta) is None:
                with suppress(StoreFull):  # a server that refuses writes can still be read
                    self._deletion.clear_away(job_id, meta)
        return [job for meta in metas if (job := job_of(meta)) is not None]

    def stats(self, job_id: str) -> JobStats:
        keys = JobKeys(job_id)
        hashes = (keys.meta, keys.latency, keys.engine)
        meta, latency, engine = self._server.pipeline([("HGETALL", key) for key in hashes], atomic=True)
        job = job_of(meta)
        if job is None:
            raise JobNotFound(job_id)
        return job_stats(job, counters_of(meta, latency, engine))

    def timeline(self, job_id: str) -> list[TimelineSample]:
        keys = JobKeys(job_id)
        meta, entries = self._server.pipeline([("HGETALL", keys.meta), ("XRANGE", keys.timeline, "-", "+")])
        if job_of(meta) is None:
            raise JobNotFound(job_id)
        return [_sample.decode(fields[b"sample"]) for _, fields in entries]

    def results(self, job_id: str) -> Iterator[Completion]:
        return self._results(job_id, self.job(job_id).spec.num_shards)

    def lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        keys, index = JobKeys(shard.job_id), shard.index
        commands = [
            ("HGETALL", keys.meta),
            ("GET", keys.input(index)),
            ("GET", keys.results(index)),
            ("HGETALL", keys.running(index)),
        ]
        meta, source, finished, running = self._server.pipeline(commands, atomic=True)
        if job_of(meta) is None or source is None:
            raise JobNotFound(shard.job_id)
        completions = unpack_completions(finished) if finished is not None else _running(running)
        known = {completion.index: completion for completion in completions}
        return [(prompt, known.get(prompt.index)) for prompt in unpack_prompts(source)]

    def _results(self, job_id: str, num_shards: int) -> Iterator[Completion]:
        for first in range(0, num_shards, SHARDS_A_READ):
            for shard in self._read_shards(job_id, range(first, min(first + SHARDS_A_READ, num_shards))):
                yield from shard

    def _read_shards(self, job_id: str, indexes: range) -> Iterator[list[Completion]]:
        # One transaction: a shard that is finished in between would otherwise be missed in both places.
        keys = JobKeys(job_id)
        commands = [("HGETALL", keys.meta)]
        for index in indexes:
            commands += [("GET", keys.results(index)), ("HGETALL", keys.running(index))]
        meta, *replies = self._server.pipeline(commands, atomic=True)
        if job_of(meta) is None:
            raise JobNotFound(job_id)
        for finished, running in zip(replies[::2], replies[1::2], strict=True):
            yield unpack_completions(finished) if finished is not None else _running(running)


def _running(fields: dict[bytes, bytes]) -> list[Completion]:
    return [decode_completion(fields[index]) for index in sorted(fields, key=int)]
