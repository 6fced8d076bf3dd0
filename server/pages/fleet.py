"""The page of all workers: what they run on and how busy they are. It also shows workers that were lost just now."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from jobs.records.job import JobCounts
from jobs.records.worker_report import WorkerReport
from jobs.stats.figures import number_format
from server.pages.rendering import Renderer
from server.pages.visitor import Visitor
from server.state import Services

_NEWEST_JOBS = 1_000
_SIGNS = {"loading": "◌", "idle": "○", "busy": "●", "draining": "◍", "stopping": "◍", "lost": "✕"}


@dataclass(frozen=True)
class _Queue:
    """Lines of one model that no worker has finished."""

    model: str
    lines: int
    jobs: int
    workers: int  # live ones that serve the model


class FleetPage:
    """Handles /fleet."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: show all workers, and the lines that wait for them."""
        stores = self._services.stores.jobs

        def read() -> tuple[list[WorkerReport], list[WorkerReport], list[JobCounts]]:
            return stores.fleet.workers(), stores.fleet.lost_workers(), stores.jobs.unfinished(_NEWEST_JOBS)

        workers, lost, jobs = await self._services.store_threads.shared("fleet", read)
        values = {
            "workers": [*workers, *lost],
            "num_live": len(workers),
            "throughput": sum(worker.output_throughput for worker in workers),
            "queues": _queues(jobs, workers),
            "signs": _SIGNS,
            "number_format": number_format,
            "now": time.time(),
        }
        return self._render.page(request, visitor, "fleet", values)


def _queues(jobs: list[JobCounts], workers: list[WorkerReport]) -> list[_Queue]:
    """Return what waits, per model. Jobs of all projects count, because they share the workers."""
    models = sorted({job.model for job in jobs} | {worker.model for worker in workers})
    return [
        _Queue(
            model,
            sum(job.waiting for job in jobs if job.model == model),
            sum(job.model == model for job in jobs),
            sum(worker.model == model for worker in workers),
        )
        for model in models
    ]
