"""A client that submits jobs, waits for them and compares their texts while parts of the system fail."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from jobs.errors import StoreUnavailable
from jobs.records.job import Job, JobState, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from testing.processes.cluster import SHARD_SIZE, Cluster

T = TypeVar("T")

RETRY_SECONDS = 0.1
_numbers = itertools.count()


class ChaosClient:
    """Submits the same lines again and again: sampled and greedy ones, long and short ones.

    Args:
        cluster: The cluster under test. The client reaches its store by a connection that is never cut.
        num_lines: Lines per job.
    """

    def __init__(self, cluster: Cluster, num_lines: int) -> None:
        self._cluster = cluster
        self._lines = [_line(index) for index in range(num_lines)]

    def submit(self) -> str:
        """Store a job and hint its shards. Calls are repeated while the server is down. Returns the job's id."""
        store, size = self._cluster.store, SHARD_SIZE
        spec = NewJob(
            id=f"chaos-{next(_numbers)}",
            model=self._cluster.model,
            format="native",
            defaults=SamplingSettings(ignore_eos=True),
            seed=5,
            num_lines=len(self._lines),
            shard_size=size,
            source="chaos",
            created_at=time.time(),
        )
        insist(lambda: store.submissions.create(spec))
        for index in range(spec.num_shards):
            shard = ShardRef(spec.id, index)
            insist(lambda shard=shard: store.submissions.add_shard(shard, self._lines[shard.index * size :][:size]))  # type: ignore[misc]
        shards = insist(lambda: store.submissions.open(spec.id))
        insist(lambda: self._cluster.hints.send(spec.model, shards))
        return spec.id

    def wait_until_ended(self, job_ids: list[str], limit_seconds: float) -> list[str]:
        """Wait until all of these jobs have ended, and return their ids. Raises `TimeoutError`."""
        deadline = time.monotonic() + limit_seconds
        for job_id in job_ids:
            while not (job := self._job(job_id)).state.ended:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{job} has not ended {limit_seconds:.0f} s after the last trouble")
                time.sleep(RETRY_SECONDS)
        return job_ids

    def lines_done(self, job_ids: list[str]) -> int:
        """Return the number of lines of these jobs that have a result."""
        return sum(self._job(job_id).done for job_id in job_ids)

    def texts(self, job_id: str) -> list[str | None]:
        """Return the texts of all lines, in order."""
        return [line.text for line in insist(lambda: list(self._cluster.store.jobs.results(job_id)))]

    def problems(self, job_id: str, reference: list[str | None]) -> Iterator[str]:
        """Yield the faults of an ended job."""
        job, lines = self._job(job_id), insist(lambda: list(self._cluster.store.jobs.results(job_id)))
        if job.state is not JobState.COMPLETED:
            yield f"{job_id} is {job.state}"
        if [line.index for line in lines] != list(range(len(self._lines))):
            yield f"{job_id} has lines {[line.index for line in lines]}"
        counted = sum(line.error is None for line in lines), sum(line.error is not None for line in lines)
        if counted != (job.completed, job.failed):
            yield f"{job_id} counts {job.completed} completed and {job.failed} failed lines; it has {counted}"
        tokens = sum(line.usage.completion_tokens for line in lines if line.usage is not None)
        if tokens != job.total_output_tokens:
            yield f"{job_id} counts {job.total_output_tokens} tokens; its lines have {tokens}"
        for line in lines:
            if line.error is not None:
                yield f"{job_id} line {line.index}: {line.error.code}: {line.error.message}"
            elif line.text != reference[line.index]:
                yield f"{job_id} line {line.index} has another text"

    def _job(self, job_id: str) -> Job:
        return insist(lambda: self._cluster.store.jobs.get(job_id))


def insist(call: Callable[[], T]) -> T:
    """Repeat a call until the server answers."""
    while True:
        try:
            return call()
        except StoreUnavailable:
            time.sleep(RETRY_SECONDS)


def _line(index: int) -> Prompt:
    settings = SamplingSettings(max_tokens=20 + 40 * (index % 7), temperature=0.0 if index % 2 else 1.0)
    return Prompt(index, f"id-{index}", text=f"What is {index}?", settings=settings)
