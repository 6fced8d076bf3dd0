"""Submit jobs to the memory store."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.records.completion import Completion
from jobs.records.job import Job, JobState, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.memory.job import MemoryJob
from jobs.stores.memory.table import JobTable
from jobs.stores.packing import PackedPrompts, unpack_prompts
from jobs.stores.rules import id_taken, not_extensible, not_validating


class MemorySubmissions:
    """Implements `Submissions`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._runs: dict[str, str] = {}  # fingerprint -> job id
        self._claims: dict[str, str] = {}  # submission key -> job id

    def create(self, spec: NewJob) -> None:
        with self._table.lock:
            if self._table.jobs.setdefault(spec.id, MemoryJob(spec)).spec != spec:
                raise id_taken(spec.id)

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        with self._table.lock:
            job = self._not_cancelled(shard.job_id)
            if job.state is not JobState.VALIDATING:
                raise not_validating(shard.job_id, job.state)
            job.add(shard.index, prompts, known)

    def add_packed_shard(self, shard: ShardRef, prompts: PackedPrompts) -> None:
        self.add_shard(shard, unpack_prompts(prompts.value, f"shard {shard.index} of job {shard.job_id}"))

    def open(self, job_id: str) -> list[ShardRef]:
        with self._table.lock:
            job, now = self._not_cancelled(job_id), self._table.clock()
            if job.state is JobState.VALIDATING:
                if len(job.shards) != job.spec.num_shards:
                    raise ValueError(f"job {job_id} has not all of its {job.spec.num_shards} shards")
                job.state, job.counters.opened_at = JobState.QUEUED, now
                if job.spec.deadline_seconds is not None:
                    job.deadline_at = now + job.spec.deadline_seconds
                job.end_if_all_done(now)
            if not job.state.ended:
                self._table.notifications.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.waiting()]

    def _not_cancelled(self, job_id: str) -> MemoryJob:
        job = self._table.get(job_id)
        if job.ending:
            raise not_validating(job_id, "cancelled")
        return job

    def find(self, key: str) -> Job | None:
        with self._table.lock:
            holder = self._table.jobs.get(self._claims.get(key, ""))
            job = holder.snapshot() if holder else None
            return job if job and job.stands else None

    def claim(self, job_id: str) -> str:
        with self._table.lock:
            key = self._table.get(job_id).spec.key
            if key is None:
                return job_id
            if (standing := self.find(key)) is not None:
                return standing.id
            holder = self._table.jobs.get(self._claims.get(key, ""))
            if holder is not None and holder.spec.id != job_id and holder.state is JobState.VALIDATING:
                del self._table.jobs[holder.spec.id]
            self._claims[key] = job_id
            return job_id

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        with self._table.lock:
            job = self._table.get(spec.id)
            if job.state not in (JobState.QUEUED, JobState.IN_PROGRESS, JobState.COMPLETED):
                raise not_extensible(spec.id, job.state)
            if job.ending or job.spec.num_lines != spec.num_lines:
                raise not_extensible(spec.id, "ending" if job.ending else "changed")
            self._table.notifications.add(spec.model)
            return [ShardRef(spec.id, index) for index in job.extend(shards)]

    def find_run(self, fingerprint: str) -> str | None:
        with self._table.lock:
            job_id = self._runs.get(fingerprint)
            return job_id if job_id in self._table.jobs else None

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        with self._table.lock:
            self._table.get(job_id)
            self._runs[fingerprint] = job_id
