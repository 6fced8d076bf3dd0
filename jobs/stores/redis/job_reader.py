"""Read jobs for clients: state, statistics, results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from jobs.errors import JobNotFound, QwenBatchError, RecordDamaged, StoreFull
from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import Job, JobCounts, JobState, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import History
from jobs.stats.stats import JobStats
from jobs.stats.stats_from_counters import job_stats
from jobs.stores.damage import reading, sound
from jobs.stores.packing import decode_completion, packed_text, unpack_completions, unpack_prompts
from jobs.stores.redis.connection.server import Command, RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_record import COUNTS_FIELDS, Hash, counters_of, counts_of, decoded_history, job_of
from jobs.stores.rules import has_part

SHARDS_PER_READ = 4  # max shards in memory at once in `results`, for a job of any size
_COUNTS_PER_READ = 1000  # counts of failed lines that are read together

_ENDED = frozenset(state.value.encode() for state in JobState if state.ended)  # as `meta` has them

_sample = msgspec.json.Decoder(TimelineSample)


class RedisJobReader:
    """Implements `JobReader`. A result that cannot be read is skipped and noted in `damage`.

    Args:
        server: The server to read from.
        index: The lists of jobs.
        remove: Completes an interrupted deletion, given the job's id and the rest of its `meta`.
    """

    def __init__(self, server: RedisServer, index: JobIndex, remove: Callable[[str, Hash], None]) -> None:
        self._server = server
        self._index = index
        self._remove = remove

    def get(self, job_id: str) -> Job:
        job = job_of(job_id, self._server.run("HGETALL", JobKeys(job_id).meta))
        if job is None:
            raise JobNotFound(job_id)
        return job

    def get_each(self, job_ids: Sequence[str]) -> list[Job | QwenBatchError]:
        metas = self._server.replies(("HGETALL", JobKeys(job_id).meta) for job_id in job_ids)
        found: list[Job | QwenBatchError] = []
        for job_id, meta in zip(job_ids, metas, strict=True):
            try:
                found.append(job_of(job_id, sound(meta)) or JobNotFound(job_id))
            except RecordDamaged as error:
                found.append(error)
        return found

    def newest(self, limit: int = 100, part: str = "") -> list[Job]:
        if not part:
            return self._each(self._index.newest(limit))
        ids = [job_id for job_id in self._index.all() if has_part(job_id, part)]
        jobs: list[Job] = []
        for first in range(0, len(ids), limit):
            jobs += self._each(ids[first : first + limit])  # fewer than `limit` if some have been deleted
            if len(jobs) >= limit:
                break
        return jobs[:limit]

    def unfinished(self, limit: int) -> list[JobCounts]:
        ids = self._index.newest(limit)
        states = self._server.replies(("HGET", JobKeys(job_id).meta, "state") for job_id in ids)
        wanted = [job_id for job_id, state in zip(ids, states, strict=True) if state not in _ENDED]
        found = self._server.replies(("HMGET", JobKeys(job_id).meta, *COUNTS_FIELDS) for job_id in wanted)
        jobs: list[JobCounts] = []
        for job_id, values in zip(wanted, found, strict=True):
            with self._server.damage.skipping():
                job = counts_of(job_id, sound(values))
                if job is None:
                    self._each([job_id])  # completes its deletion
                elif not job.state.ended:
                    jobs.append(job)
        return jobs

    def _each(self, ids: Sequence[str]) -> list[Job]:
        """Return the jobs that exist. Skips damaged ones, and completes interrupted deletions."""
        metas = self._server.replies(("HGETALL", JobKeys(job_id).meta) for job_id in ids)
        jobs: list[Job] = []
        for job_id, meta in zip(ids, metas, strict=True):
            with self._server.damage.skipping():
                job = job_of(job_id, sound(meta))
                if job is not None:
                    jobs.append(job)
                    continue
                with suppress(StoreFull):  # a server that refuses writes can still be read
                    self._remove(job_id, meta)
        return jobs

    def stats(self, job_id: str) -> JobStats:
        keys = JobKeys(job_id)
        hashes = (keys.meta, keys.latency, keys.engine)
        meta, latency, engine = self._server.pipeline([("HGETALL", key) for key in hashes], atomic=True)
        job = job_of(job_id, meta)
        if job is None:
            raise JobNotFound(job_id)
        return job_stats(job, counters_of(job_id, meta, latency, engine))

    def timeline(self, job_id: str, newest: int | None = None) -> list[TimelineSample]:
        keys = JobKeys(job_id)
        limit: Command = () if newest is None else ("COUNT", newest)
        meta, entries = self._server.pipeline([("HGETALL", keys.meta), ("XREVRANGE", keys.timeline, "+", "-", *limit)])
        if job_of(job_id, meta) is None:
            raise JobNotFound(job_id)
        samples: list[TimelineSample] = []
        for _, fields in reversed(entries):
            with self._server.damage.skipping(), reading(keys.timeline):
                samples.append(_sample.decode(fields[b"sample"]))
        return samples

    def history(self, job_id: str) -> History:
        keys = JobKeys(job_id)
        meta, fields = self._server.pipeline([("HGETALL", keys.meta), ("HGETALL", keys.history)])
        if job_of(job_id, meta) is None:
            raise JobNotFound(job_id)
        with reading(keys.history):
            return decoded_history(fields)

    def results(self, job_id: str) -> Iterator[Completion]:
        return self._results(job_id, self.get(job_id).spec.num_shards)

    def lines(self, shard: ShardRef, text: str = "") -> list[tuple[Prompt, Completion | None]]:
        keys, index = JobKeys(shard.job_id), shard.index
        commands = [
            ("HGETALL", keys.meta),
            ("GET", keys.input(index)),
            ("GET", keys.results(index)),
            ("HGETALL", keys.running(index)),
        ]
        meta, source, finished, running = self._server.pipeline(commands, atomic=True)
        if job_of(shard.job_id, meta) is None:
            raise JobNotFound(shard.job_id)
        if text and not self._may_have(text, shard, source, finished, running):
            return []
        prompts = unpack_prompts(source, keys.input(index))
        known = {completion.index: completion for completion in self.completions(shard, finished, running)}
        return [(prompt, known.get(prompt.index)) for prompt in prompts]

    def _may_have(self, text: str, shard: ShardRef, source: Any, finished: Any, running: Any) -> bool:  # noqa: ANN401
        """Return whether a casefolded text is in the JSON of a shard's lines or results, or in a damaged record."""
        keys = JobKeys(shard.job_id)
        try:
            if source is None or text in packed_text(source, keys.input(shard.index)):
                return True
            if finished is not None:
                return text in packed_text(finished, keys.results(shard.index))
        except RecordDamaged:
            return True
        return text in b"".join(running.values()).decode(errors="replace").casefold()

    def failed_shards(self, job_id: str) -> Iterator[ShardRef]:
        return self._failed_shards(job_id, self.get(job_id).spec.num_shards)

    def _failed_shards(self, job_id: str, num_shards: int) -> Iterator[ShardRef]:
        keys = JobKeys(job_id)
        for first in range(0, num_shards, _COUNTS_PER_READ):
            indexes = range(first, min(first + _COUNTS_PER_READ, num_shards))
            replies = self._server.replies(("HGET", keys.shard(index), "failed") for index in indexes)
            for index, failed in zip(indexes, replies, strict=True):
                with self._server.damage.skipping(), reading(keys.shard(index)):
                    if int(sound(failed) or 0):
                        yield ShardRef(job_id, index)

    def _results(self, job_id: str, num_shards: int) -> Iterator[Completion]:
        for first in range(0, num_shards, SHARDS_PER_READ):
            yield from self._read_shards(job_id, range(first, min(first + SHARDS_PER_READ, num_shards)))

    def _read_shards(self, job_id: str, indexes: range) -> Iterator[Completion]:
        # One transaction: otherwise a shard that finishes between two reads would be missing from both replies.
        keys = JobKeys(job_id)
        commands = [("HGETALL", keys.meta)]
        for index in indexes:
            commands += [("GET", keys.results(index)), ("HGETALL", keys.running(index))]
        meta, *replies = self._server.replies(commands, atomic=True)
        if job_of(job_id, sound(meta)) is None:
            raise JobNotFound(job_id)
        for index, finished, running in zip(indexes, replies[::2], replies[1::2], strict=True):
            yield from self.completions(ShardRef(job_id, index), finished, running)

    def open_shards(self, job_id: str) -> list[ShardRef]:
        """Return the shards that wait for a worker: quarantined shards last, otherwise in order."""
        key = JobKeys(job_id).open
        indexes = self._server.damage.numbers(key, self._server.run("ZRANGE", key, 0, -1))
        return [ShardRef(job_id, index) for index in indexes]

    def completions(self, shard: ShardRef, finished: Any, running: Any) -> list[Completion]:  # noqa: ANN401 - replies
        """Return a shard's readable results in input order.

        Args:
            shard: The shard.
            finished: The reply for its key `results`: a packed value, None, or `RecordDamaged`.
            running: The reply for its key `running`: a hash, or `RecordDamaged`.
        """
        keys, found = JobKeys(shard.job_id), []
        with self._server.damage.skipping():
            if sound(finished) is not None:
                return unpack_completions(finished, keys.results(shard.index))
            for line in sound(running).values():
                with self._server.damage.skipping():
                    found.append(decode_completion(line, keys.running(shard.index)))
        return sorted(found, key=lambda completion: completion.index)
