"""The page of one job: state, progress, speed, errors."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from jobs.records.shard_stats import TimelineSample
from jobs.stats.cache_room import CacheRoom
from jobs.stats.history import History
from jobs.stats.stats import JobStats
from server.pages.job.book import JobBook
from server.pages.job.entry import Entry
from server.pages.job.error_groups import ErrorGroups, KnownErrors
from server.pages.plots import Plot, plot_of_history, plot_of_samples, rate_now
from server.pages.rendering import Renderer, wants_part
from server.pages.visitor import Visitor
from server.state import Services

_MAX_SAMPLES = 600  # ten minutes of one worker
_SKEW_SECONDS = 30  # the times of samples come from the workers' clocks


@dataclass(frozen=True)
class _Facts:
    """Records of a job from the store, at one moment."""

    entry: Entry
    stats: JobStats | None  # None without a job
    samples: list[TimelineSample]  # the newest ones
    history: History | None
    num_serving: int  # live workers of the job's model


class JobPages:
    """Handles /jobs/ID and its list of errors."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render
        self._known_errors = KnownErrors(services.disk_threads, services.stores.jobs.jobs)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: show a job."""
        job_id = str(request.path_params["id"])
        key = ("job", visitor.project, visitor.sees_own_jobs, job_id)
        facts = await self._services.store_threads.shared(key, lambda: self._read(visitor, job_id))
        entry, stats = facts.entry, facts.stats
        errors = None
        if entry.failed and not wants_part(request):
            errors = await self._errors(entry)
        values = {
            "entry": entry,
            "stats": stats,
            "plot": _plot(facts),
            "rate_now": None if entry.ended else rate_now(facts.samples),
            "seconds_left": _seconds_left(facts),
            "advice": _advice(stats),
            "num_serving": facts.num_serving,
            "errors": errors,
        }
        return self._render.page(request, visitor, "job", values)

    async def errors(self, request: Request, visitor: Visitor) -> Response:
        """GET: show the groups of a job's failed lines."""
        job_id = str(request.path_params["id"])
        entry = await self._services.store_threads.run(JobBook(self._services.stores, visitor).get, job_id)
        values = {"entry": entry, "errors": await self._errors(entry)}
        return self._render.page(request, visitor, "errors", values)

    async def _errors(self, entry: Entry) -> ErrorGroups | None:
        """Return the groups of errors. None if the job was deleted, so that only the files have them."""
        job = entry.job
        return None if job is None else await self._known_errors.of(job)

    def _read(self, visitor: Visitor, job_id: str) -> _Facts:
        stores = self._services.stores
        entry = JobBook(stores, visitor).get(job_id)
        if entry.job is None:
            return _Facts(entry, None, [], None, 0)
        reader = stores.jobs.jobs
        serving = [] if entry.ended else stores.jobs.fleet.workers()
        return _Facts(
            entry,
            reader.stats(entry.job.id),
            reader.timeline(entry.job.id, _MAX_SAMPLES),
            reader.history(entry.job.id),
            sum(worker.model == entry.model for worker in serving),
        )


def _plot(facts: _Facts) -> Plot | None:
    """Return the plot of the whole job: from samples while they reach back to its begin, else from its history."""
    samples, history, job = facts.samples, facts.history, facts.entry.job
    if job is None or history is None or not history.spans or job.first_step_at is None or job.last_line_at is None:
        return plot_of_samples(samples)
    if samples and samples[0].at < history.spans[0].at + _SKEW_SECONDS:
        return plot_of_samples(samples)
    return plot_of_history(history, job.first_step_at, job.last_line_at) or plot_of_samples(samples)


def _seconds_left(facts: _Facts) -> float | None:
    """Return the time that the remaining lines take at the mean speed so far. None if it is unknown."""
    entry, stats = facts.entry, facts.stats
    if entry.state != "in progress" or not facts.num_serving or stats is None or not stats.request_throughput:
        return None
    return (entry.total - entry.done) / stats.request_throughput


def _advice(stats: JobStats | None) -> str | None:
    """Return advice if the KV cache was too small for the batch."""
    if stats is None or stats.cache_short_share is None:
        return None
    if stats.cache_short_running is None or stats.cache_short_waiting is None:
        return None
    wanted = stats.kv_cache_bytes_wanted or 0
    room = CacheRoom(stats.cache_short_running, stats.cache_short_waiting, wanted, stats.cache_short_share)
    return room.advice if room.is_short else None
