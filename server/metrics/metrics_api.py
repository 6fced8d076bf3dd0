"""The endpoint of metrics: figures of all workers, all HTTP processes and all unfinished jobs, from any process.

Each process is a series of its own. A sum over processes that come and go would fall, and Prometheus would take that
for a restart. No label holds a job, a file or a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from jobs.prometheus_text import CONTENT_TYPE, head, sample
from jobs.records.job import JobCounts
from jobs.records.worker_report import WorkerReport
from jobs.service.http_report import HttpReport
from server.metrics.fleet_metrics import fleet_metrics
from server.metrics.http_metrics import http_metrics
from server.state import Services

_NEWEST_JOBS = 1_000


class _Figures(NamedTuple):
    """Figures from the store."""

    reports: list[HttpReport]
    workers: list[WorkerReport]
    lost: list[WorkerReport]
    jobs: list[JobCounts]  # the unfinished ones
    models: list[str]  # the served ones
    online_waiting: dict[str, int]  # by model


class MetricsApi:
    """Handles /metrics."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def scrape(self, _request: Request) -> Response:
        """GET: return all metrics in the text format of Prometheus."""
        own, stores = self._services.meter.report(), self._services.stores

        def read() -> _Figures:
            fleet = stores.jobs.fleet
            models = [card.name for card in fleet.models()]
            return _Figures(
                stores.reports.all(),
                fleet.workers(),
                fleet.lost_workers(),
                stores.jobs.jobs.unfinished(_NEWEST_JOBS),
                models,
                {model: stores.online.waiting(model) for model in models},
            )

        found = await self._services.store_threads.shared("metrics", read)
        hints = await self._services.disk_threads.shared("hints", lambda: self._hints(found.models))
        reports = [own, *(report for report in found.reports if report.server != own.server)]
        lines = [
            *fleet_metrics(found.workers, found.lost),
            *_jobs(found.jobs),
            *_per_model("online_waiting", "Interactive requests that no worker has taken.", found.online_waiting),
            *_per_model("queue_hints", "Messages on the Celery queue.", hints),
            *http_metrics(reports),
        ]
        return Response("".join(f"{line}\n" for line in lines), media_type=CONTENT_TYPE)

    def _hints(self, models: Sequence[str]) -> dict[str, int]:
        """Return the length of each model's queue. The first call takes longer, because it loads Celery."""
        return {model: self._services.hints.depth(model) for model in models}


def _per_model(name: str, what: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield from head(f"qwen_batch:{name}", "gauge", what)
    for model, count in sorted(counts.items()):
        yield sample(f"qwen_batch:{name}", {"model_name": model}, count)


def _jobs(jobs: Sequence[JobCounts]) -> Iterator[str]:
    yield from head("qwen_batch:jobs", "gauge", "Unfinished jobs by model and state, among the newest 1,000 jobs.")
    for (model, state), count in sorted(Counter((job.model, job.state) for job in jobs).items()):
        yield sample("qwen_batch:jobs", {"model_name": model, "state": state}, count)
    lines: Counter[tuple[str, str]] = Counter()
    for job in jobs:
        lines[job.model, "completed"] += job.completed
        lines[job.model, "failed"] += job.failed
        lines[job.model, "waiting"] += job.waiting
    yield from head("qwen_batch:lines", "gauge", "Lines of these jobs by model and state.")
    for (model, kind), count in sorted(lines.items()):
        yield sample("qwen_batch:lines", {"model_name": model, "state": kind}, count)
