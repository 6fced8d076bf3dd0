"""The progress of a job at one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from cli.console.job_row import JobRow, facts_of
from jobs.records.job import Job, JobState
from jobs.records.worker_report import WorkerReport
from jobs.stats import figures
from jobs.stats.cache_room import CacheRoom

_QUICK_SECONDS = 5.0  # a model that loads for longer gets a reason


class JobUpdate(JobRow, frozen=True, kw_only=True):
    """One line of `watch --json`."""

    output_throughput: float | None  # tokens/s over the last seconds; None while no worker runs the job
    seconds_left: float | None  # estimated; None if unknown
    workers: int  # number that serve the job's model
    loading_workers: int  # number of these that still load the model
    loading_step: str | None = None  # what the workers do, if all of them are loading and this takes long
    waits_for: str | None = None  # what the job needs besides a worker, such as "free space", as far as that is known
    cache_room: CacheRoom | None = None  # room of the KV cache of a worker, if it is too small

    @property
    def done(self) -> int:
        """Number of lines that have a result."""
        return self.completed + self.failed

    @property
    def headline(self) -> str:
        """Return the state for people, with the reason if the job makes no progress."""
        if self.state.ended:
            return self.state.value
        if self.cancel_requested or self.paused:
            return "cancelling" if self.cancel_requested else "paused"
        if self.state is JobState.VALIDATING and self.waits_for is None:
            return "storing the prompts"
        if self.workers == 0 or self.waits_for is not None:
            return f"waiting for {self.waits_for or f'a worker that serves {self.model}'}"
        if self.loading_workers == self.workers:
            return f"loading {self.model}" + (f" ({self.loading_step})" if self.loading_step else "")
        return self.state.value

    @property
    def movement(self) -> str:
        """Return the number of finished lines, the speed and the time left."""
        parts = [f"{figures.count(self.done)}/{figures.count(self.total)} lines"]
        if self.failed:
            parts.append(f"{figures.count(self.failed)} failed")
        if not self.state.ended:
            if self.output_throughput:
                parts.append(f"{figures.rate(self.output_throughput)} tok/s")
            if self.seconds_left is not None:
                parts.append(f"{figures.about(self.seconds_left)} left")
        return ", ".join(parts)


class Pace:
    """The rate of a count over the last `window_seconds`. Earlier pauses do not affect it."""

    def __init__(self, window_seconds: float = 30.0) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, int]] = deque()  # (seconds of a monotonic clock, count)

    def add(self, now: float, count: int) -> None:
        """Add a sample: the count at the time `now`. Times must not decrease."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] < now - self._window_seconds:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate per second. None until there are samples of two different times."""
        if len(self._samples) < 2:
            return None
        (first_time, first_count), (last_time, last_count) = self._samples[0], self._samples[-1]
        return (last_count - first_count) / (last_time - first_time) if last_time > first_time else None

    def seconds_for(self, more: int) -> float | None:
        """Return the seconds that `more` counts take at this rate. None if the rate is unknown or not positive."""
        pace = self.per_second
        return more / pace if pace and pace > 0 else None


class JobObserver:
    """Makes the updates of one job from its earlier progress."""

    def __init__(self) -> None:
        self._lines = Pace()
        self._tokens = Pace()
        self._loading_since: float | None = None  # time of the first update in which all workers were loading

    def update(self, job: Job, workers: Sequence[WorkerReport], now: float, waits_for: str | None = None) -> JobUpdate:
        """Return the update for a job. `now` is the time of a monotonic clock in seconds."""
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
            loading_step=self._loading_step(serving, now),
            waits_for=waits_for,
            cache_room=_cache_room(on_it) if moves else None,
        )

    def _loading_step(self, serving: Sequence[WorkerReport], now: float) -> str | None:
        """Return what the first worker's loading does, if all workers have been loading for `_QUICK_SECONDS`."""
        if not serving or any(worker.state != "loading" for worker in serving):
            self._loading_since = None
            return None
        if self._loading_since is None:
            self._loading_since = now
        return serving[0].loading_step or None if now - self._loading_since >= _QUICK_SECONDS else None

    def _throughput(self, job: Job, on_it: Sequence[WorkerReport]) -> float | None:
        """Return the job's output tokens per second, or None while no live worker runs the job.

        The workers' figure counts each token at once, but for all jobs together. It is used if the workers run only
        this job. Otherwise the figure comes from the store, which counts a job's tokens when their lines are finished.
        """
        if not on_it:
            return None
        if all(worker.jobs == (job.id,) for worker in on_it):
            return sum(worker.output_throughput for worker in on_it)
        return self._tokens.per_second


def _cache_room(workers: Sequence[WorkerReport]) -> CacheRoom | None:
    """Return the room of the worker that holds back most sequences, or None if none holds any back."""
    worst = max(workers, key=lambda worker: worker.held_back)
    if not worst.held_back:
        return None
    return CacheRoom(worst.running, worst.held_back, worst.kv_cache_bytes_wanted)
