"""Open lines of an ended job again: failed lines, and lines whose results are missing or damaged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import Job, ShardRef
from jobs.stats.latency_histogram import LatencyHistogram
from jobs.stats.stats_counters import AMOUNTS
from jobs.stores.damage import reading, sound
from jobs.stores.packing import encode_completion, unpack_completions, unpack_prompts
from jobs.stores.recount import Recount
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.job_reader import SHARDS_PER_READ, RedisJobReader
from jobs.stores.rules import beyond_recovery, retried_at_once


@dataclass(frozen=True)
class _Read:
    """A shard's records in the store."""

    shard: ShardRef
    completions: list[Completion]  # only readable ones
    num_lines: int | None  # None if the record lacks it
    token: bytes  # token of its last lease
    digest: str  # SHA-1 of its compacted results; of an empty value if there are none


@dataclass(frozen=True)
class _Lost:
    """A shard that lacks results."""

    shard: ShardRef
    kept: list[Completion]  # results of lines that need not run again
    token: bytes
    digest: str


@dataclass
class _Survey:
    """Counters of a job's remaining results, and its shards that lack results."""

    recount: Recount
    lost: list[_Lost] = field(default_factory=list)


class Reopening:
    """Opens shards of an ended job, one after the other. After a crash, the next `retry` opens the rest.

    To find lines without a result, it reads all results of the job in constant memory.
    """

    def __init__(self, server: RedisServer, index: JobIndex, reader: RedisJobReader) -> None:
        self._server = server
        self._index = index
        self._reader = reader

    def reopen_lost(self, job: Job) -> list[ShardRef]:
        """Open the shards of an ended job that lack results, and return them. Sets the counters to the results left.

        A shard whose input cannot be read does not change; it is noted as damaged.

        Raises:
            StoreDamaged: Results are missing, and no input of these shards can be read.
            JobConflict: Another client changed the job at the same time.
        """
        survey = self._survey(job)
        if not survey.lost:
            return []
        sizes = {lost.shard: size for lost in survey.lost if (size := self._num_lines(lost.shard)) is not None}
        if not sizes:
            raise beyond_recovery(job.id, len(survey.lost))
        self._index.add(job.spec)
        self._recount(job, survey.recount)
        opened = [
            lost.shard for lost in survey.lost if lost.shard in sizes and self._open_lost(lost, sizes[lost.shard])
        ]
        self._index.add(job.spec)
        return opened

    def _survey(self, job: Job) -> _Survey:
        survey, first = _Survey(Recount(may_be_reused=job.reused > 0)), 0
        for read in self._read(job):
            num_lines = job.spec.shard_size if read.num_lines is None else read.num_lines
            own = [line for line in read.completions if first <= line.index < first + num_lines]
            first += num_lines
            if len({line.index for line in own}) != read.num_lines:
                own = [line for line in own if line.error is None]
                survey.lost.append(_Lost(read.shard, own, read.token, read.digest))
            for line in own:
                survey.recount.add(line)
        return survey

    def _read(self, job: Job) -> Iterator[_Read]:
        for first in range(0, job.spec.num_shards, SHARDS_PER_READ):
            yield from self._read_some(job.id, range(first, min(first + SHARDS_PER_READ, job.spec.num_shards)))

    def _read_some(self, job_id: str, indexes: range) -> Iterator[_Read]:
        keys, commands = JobKeys(job_id), []
        for index in indexes:
            commands += [
                ("GET", keys.results(index)),
                ("HGETALL", keys.running(index)),
                ("HMGET", keys.shard(index), "lines", "token"),
            ]
        replies = self._server.replies(commands, atomic=True)
        for index, finished, running, facts in zip(indexes, replies[::3], replies[1::3], replies[2::3], strict=True):
            shard = ShardRef(job_id, index)
            completions = self._reader.completions(shard, finished, running)
            with reading(keys.shard(index)):
                lines, token = sound(facts)
                num_lines = None if lines is None else int(lines)
            value = finished if isinstance(finished, bytes) else b""
            digest = hashlib.sha1(value, usedforsecurity=False).hexdigest()
            yield _Read(shard, completions, num_lines, token or b"", digest)

    def _num_lines(self, shard: ShardRef) -> int | None:
        """Return the number of lines in a shard's input, or None if the input is damaged."""
        key = JobKeys(shard.job_id).input(shard.index)
        with self._server.damage.skipping():
            return len(unpack_prompts(self._server.run("GET", key), key))
        return None

    def _recount(self, job: Job, recount: Recount) -> None:
        counters, keys = recount.counters, JobKeys(job.id)
        fields = {
            "completed": recount.completed,
            "failed": recount.failed,
            "total_input_tokens": recount.input_tokens,
            "total_output_tokens": recount.output_tokens,
            "reused": recount.reused,
            "reused_input_tokens": counters.reused_input_tokens,
            "reused_output_tokens": counters.reused_output_tokens,
        }
        fields |= {name: counters.amounts.get(name, 0) for name in AMOUNTS}
        fields |= {f"finish_reason:{reason}": count for reason, count in counters.finish_reasons.items()}
        fields |= {f"error_code:{code}": count for code, count in counters.error_codes.items()}
        latency: dict[str, int] = {}
        for name, histogram in (("ttft", counters.ttft), ("tpot", counters.tpot), ("e2el", counters.e2el)):
            latency |= _latency_fields(name, histogram)
        args = [msgspec.msgpack.encode(values) for values in (fields, latency)]
        if self._server.script("recount", [keys.meta, keys.latency], job.completed, job.failed, *args) != "ok":
            raise retried_at_once(job.id)

    def _open_lost(self, lost: _Lost, num_lines: int) -> bool:
        keys, index = JobKeys(lost.shard.job_id), lost.shard.index
        names = [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open, keys.leases]
        args = (index, lost.token, lost.digest, num_lines, *_line_fields(lost.kept))
        return bool(self._server.script("reopen_lost", names, *args) == "ok")

    def reopen_failed(self, job: Job) -> list[ShardRef]:
        """Open the failed lines of an ended job, and return their shards."""
        self._index.add(job.spec)
        opened = [shard for shard in self._failed_shards(job) if self._open_failed(shard)]
        self._index.add(job.spec)
        return opened

    def _failed_shards(self, job: Job) -> list[ShardRef]:
        keys = JobKeys(job.id)
        shards = range(job.spec.num_shards)
        failed = self._server.pipeline(("HGET", keys.shard(index), "failed") for index in shards)
        return [ShardRef(job.id, index) for index, count in zip(shards, failed, strict=True) if count and int(count)]

    def _open_failed(self, shard: ShardRef) -> bool:
        keys, index = JobKeys(shard.job_id), shard.index
        packed = self._server.run("GET", keys.results(index))
        if packed is None:  # another client's `retry` has opened it already
            return False
        completions = unpack_completions(packed, keys.results(index))
        kept = [completion for completion in completions if completion.error is None]
        names = [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open]
        codes = Counter(str(completion.error.code) for completion in completions if completion.error is not None)
        args = (index, codes.total(), msgspec.msgpack.encode(codes), *_line_fields(kept))
        return bool(self._server.script("reopen_failed", names, *args) == "ok")


def _line_fields(completions: list[Completion]) -> list[int | bytes]:
    """Return index and encoded completion of each line, as the scripts take the results that stay."""
    return [value for completion in completions for value in (completion.index, encode_completion(completion))]


def _latency_fields(name: str, histogram: LatencyHistogram) -> dict[str, int]:
    """Return a histogram as fields of the job's `latency` hash."""
    if not histogram.counts:
        return {}
    return {f"{name}:{bucket}": count for bucket, count in histogram.counts.items()} | {
        f"{name}:sum_us": histogram.sum_us
    }
