"""What a watcher sees of a job at one moment."""

from __future__ import annotations

from collections.abc import Sequence

from cli.console import figures
from cli.console.job_row import JobRow, facts_of
from cli.console.pace import Pace
from jobs.records.job import Job, JobState
from jobs.records.worker_report import WorkerReport
from jobs.stats.cache_room import CacheRoom


class JobUpdate(JobRow, frozen=True, kw_only=True):
    """One line of `watch --json`."""

    output_throughput: float | None  # tokens/s over the last seconds; None while nobody works on it
    seconds_left: float | None  # the same
    workers: int  # how many serve the job's model
    loading_workers: int  # how many of these are still loading it
    cache_advice: str | None = None  # what to do about a KV cache that is too small on a worker of this job

    @property
    def done(self) -> int:
        """Lines that have a result."""
        return self.completed + self.failed

    @property
    def headline(self) -> str:
        """The state for people, with the reason when nothing moves."""
        if self.state.ended:
            return self.state.value
        if self.cancel_requested or self.paused:
            return "cancelling" if self.cancel_requested else "paused"
        if self.state is JobState.VALIDATING:
            return "storing the prompts"
        if self.workers == 0:
            return f"waiting for a worker that serves {self.model}"
        if self.loading_workers == self.workers:
            return f"loading {self.model}"
        return self.state.value

    @property
    def movement(self) -> str:
        """Lines, speed and time left: what changes from moment to moment."""
        parts = [f"{figures.count(self.done)}/{figures.count(self.total)} lines"]
        if self.failed:
            parts.append(f"{figures.count(self.failed)} failed")
        if not self.state.ended:
            if self.output_throughput:
                parts.append(f"{figures.rate(self.output_throughput)} tok/s")
            if self.seconds_left is not None:
                parts.append(f"{figures.about(self.seconds_left)} left")
        return ", ".join(parts)


class JobObserver:
    """Makes updates of one job, remembering how it moved."""

    def __init__(self) -> None:
        self._lines = Pace()
        self._tokens = Pace()

    def update(self, job: Job, workers: Sequence[WorkerReport], now: float) -> JobUpdate:
        """`now` is a monotonic clock's seconds."""
        self._lines.add(now, job.done)
        self._tokens.add(now, job.total_output_tokens)
        serving = [worker for worker in workers if worker.model == job.spec.model]
        on_it = [worker for worker in serving if job.id in worker.jobs]
        moves = bool(on_it) and not job.state.ended
        return JobUpdate(
            **facts_of(job),
            output_throughput=self._throughput(job, on_it),
            seconds_left=self._lines.seconds_for(job.spec.num_lines - job.done) if moves else None,
            workers=len(serving),
            loading_workers=sum(worker.state == "loading" for worker in serving),
            cache_advice=_cache_advice(on_it) if moves else None,
        )

    def _throughput(self, job: Job, on_it: Sequence[WorkerReport]) -> float | None:
        """The workers' own figure while they work for this job alone; else that of the lines that were finished.

        None when no worker that is alive works on the job: what it did before says nothing of now.
        A worker counts each token as it comes, but not by job; the store counts by job, but only finished lines.
        """
        if not on_it:
            return None
        if all(worker.jobs == (job.id,) for worker in on_it):
            return sum(worker.output_throughput for worker in on_it)
        return self._tokens.per_second


def _cache_advice(workers: Sequence[WorkerReport]) -> str | None:
    """For the worker that holds most sequences back, if one does."""
    worst = max(workers, key=lambda worker: worker.held_back)
    if not worst.held_back:
        return None
    return CacheRoom(worst.running, worst.held_back, worst.kv_cache_bytes_wanted).advice
