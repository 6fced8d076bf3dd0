"""Results of an ended job that are gone from the store, or damaged: their lines are run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import Job, ShardRef
from jobs.stats.latency_histogram import LatencyHistogram
from jobs.stores.damage import reading, sound
from jobs.stores.packing import encode_completion, unpack_prompts
from jobs.stores.recount import Recount
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.reading import SHARDS_A_READ, JobReader
from jobs.stores.redis.server import RedisServer
from jobs.stores.rules import beyond_recovery, retried_at_once


@dataclass(frozen=True)
class _Read:
    """A shard as it lies in the store."""

    shard: ShardRef
    completions: list[Completion]  # those that can be read
    num_lines: int | None  # None: nobody knows
    token: bytes  # of its last lease
    digest: str  # of its compacted results; of nothing, if there are none


@dataclass(frozen=True)
class _Lost:
    """A shard that lacks results, as it was read."""

    shard: ShardRef
    kept: list[Completion]  # lines that need not be run again
    token: bytes
    digest: str


@dataclass
class _Survey:
    """What is left of a job."""

    recount: Recount
    lost: list[_Lost] = field(default_factory=list)


class LostResults:
    """Reads all results of a job, in constant memory, to find those that are missing."""

    def __init__(self, server: RedisServer, index: JobIndex, reader: JobReader) -> None:
        self._server = server
        self._index = index
        self._reader = reader

    def reopen(self, job: Job) -> list[ShardRef]:
        """Open the shards of an ended job that lack results; returns them. Counters follow.

        A shard whose input cannot be read stays as it is, and is noted as damaged.

        Raises:
            StoreDamaged: Results are missing, and the input of none of them can be read.
            JobConflict: Another client changed the job at this moment.
        """
        survey = self._survey(job)
        if not survey.lost:
            return []
        sizes = {lost.shard: size for lost in survey.lost if (size := self._num_lines(lost.shard)) is not None}
        if not sizes:
            raise beyond_recovery(job.id, len(survey.lost))
        self._index.add(job.spec)
        self._recount(job, survey.recount)
        opened = [lost.shard for lost in survey.lost if lost.shard in sizes and self._open(lost, sizes[lost.shard])]
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
        for first in range(0, job.spec.num_shards, SHARDS_A_READ):
            yield from self._read_some(job.id, range(first, min(first + SHARDS_A_READ, job.spec.num_shards)))

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
        """How many lines a shard's input has; None if nobody can read it."""
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
        fields |= {f"finish_reason:{reason}": count for reason, count in counters.finish_reasons.items()}
        latency: dict[str, int] = {}
        for name, histogram in (("ttft", counters.ttft), ("tpot", counters.tpot), ("e2el", counters.e2el)):
            latency |= _fields(name, histogram)
        args = [msgspec.msgpack.encode(values) for values in (fields, latency)]
        if self._server.script("recount", [keys.meta, keys.latency], job.completed, job.failed, *args) != "ok":
            raise retried_at_once(job.id)

    def _open(self, lost: _Lost, num_lines: int) -> bool:
        keys, index = JobKeys(lost.shard.job_id), lost.shard.index
        names = [keys.meta, keys.shard(index), keys.running(index), keys.results(index), keys.open, keys.leases]
        kept = [value for line in lost.kept for value in (line.index, encode_completion(line))]
        return bool(self._server.script("reopen_lost", names, index, lost.token, lost.digest, num_lines, *kept) == "ok")


def _fields(name: str, histogram: LatencyHistogram) -> dict[str, int]:
    """A histogram as the job's `latency` hash holds it."""
    if not histogram.counts:
        return {}
    return {f"{name}:{bucket}": count for bucket, count in histogram.counts.items()} | {
        f"{name}:sum_us": histogram.sum_us
    }
