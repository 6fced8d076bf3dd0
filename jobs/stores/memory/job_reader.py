"""Read jobs of the memory store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from jobs.errors import JobNotFound, QwenBatchError
from jobs.records.completion import Completion
from jobs.records.job import Job, JobCounts, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import History
from jobs.stats.stats import JobStats
from jobs.stats.stats_from_counters import job_stats
from jobs.stores.memory.table import JobTable
from jobs.stores.rules import has_part


class MemoryJobReader:
    """Implements `JobReader`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def get(self, job_id: str) -> Job:
        with self._table.lock:
            return self._table.get(job_id).snapshot()

    def get_each(self, job_ids: Sequence[str]) -> list[Job | QwenBatchError]:
        with self._table.lock:
            return [self._found(job_id) for job_id in job_ids]

    def _found(self, job_id: str) -> Job | QwenBatchError:
        try:
            return self.get(job_id)
        except JobNotFound as error:
            return error

    def newest(self, limit: int = 100, part: str = "") -> list[Job]:
        with self._table.lock:
            jobs = [job for job in self._table.jobs.values() if has_part(job.spec.id, part)]
            jobs.sort(key=lambda job: (job.spec.created_at, job.spec.id), reverse=True)
            return [job.snapshot() for job in jobs[:limit]]

    def unfinished(self, limit: int) -> list[JobCounts]:
        return [JobCounts.of(job) for job in self.newest(limit) if not job.state.ended]

    def stats(self, job_id: str) -> JobStats:
        with self._table.lock:
            job = self._table.get(job_id)
            return job_stats(job.snapshot(), replace(job.counters, error_codes=job.error_codes()))

    def timeline(self, job_id: str, newest: int | None = None) -> list[TimelineSample]:
        with self._table.lock:
            samples = self._table.get(job_id).timeline
            return list(samples if newest is None else samples[-newest:])

    def history(self, job_id: str) -> History:
        with self._table.lock:
            return self._table.get(job_id).history.history()

    def results(self, job_id: str) -> Iterator[Completion]:
        with self._table.lock:
            return iter(self._table.get(job_id).results())

    def lines(self, shard: ShardRef, text: str = "") -> list[tuple[Prompt, Completion | None]]:
        with self._table.lock:
            lines = self._table.get(shard.job_id).shards[shard.index]
            if text and text not in msgspec.json.encode([lines.prompts, lines.results]).decode().casefold():
                return []
            return [(prompt, lines.results.get(prompt.index)) for prompt in lines.prompts]

    def failed_shards(self, job_id: str) -> Iterator[ShardRef]:
        with self._table.lock:
            shards = self._table.get(job_id).shards
            failed = [index for index, shard in shards.items() if any(each.error for each in shard.results.values())]
        return (ShardRef(job_id, index) for index in sorted(failed))
