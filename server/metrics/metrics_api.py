"""The endpoint of metrics: figures of all workers, all HTTP processes and all unfinished jobs, from any process.

Each process is a series of its own. A sum over processes that come and go would fall, and Prometheus would take that
for a restart. No label holds a job, a file or a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from jobs.http_report import HttpReport
from jobs.prometheus_text import CONTENT_TYPE, head, histogram, sample
from jobs.records.job import Job
from jobs.records.worker_report import WorkerReport
from server.metrics.http_meter import SECONDS
from server.state import Services

_NEWEST_JOBS = 1_000

# Name, kind, meaning, and the value in a worker's report.
_OF_WORKERS: tuple[tuple[str, str, str, Callable[[WorkerReport], float]], ...] = (
    ("vllm:num_requests_running", "gauge", "Sequences in the batch.", lambda worker: worker.running),
    ("vllm:num_requests_waiting", "gauge", "Sequences not yet in the batch.", lambda worker: worker.waiting),
    ("vllm:kv_cache_usage_perc", "gauge", "Used share of the cache; 1 is all.", lambda worker: worker.kv_cache_usage),
    ("vllm:prompt_tokens_total", "counter", "Prompt tokens computed.", lambda worker: worker.prompt_tokens),
    ("vllm:generation_tokens_total", "counter", "Tokens generated.", lambda worker: worker.output_tokens),
    ("qwen_batch:worker_memory_bytes", "gauge", "Peak memory.", lambda worker: worker.peak_memory_bytes),
)


class MetricsApi:
    """Handles /metrics."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def scrape(self, _request: Request) -> Response:
        """GET: return all metrics in the text format of Prometheus."""
        own, stores = self._services.meter.report(), self._services.stores

        def read() -> tuple[list[HttpReport], list[WorkerReport], list[WorkerReport], list[Job]]:
            fleet = stores.jobs.fleet
            return stores.reports.all(), fleet.workers(), fleet.lost_workers(), stores.jobs.jobs.newest(_NEWEST_JOBS)

        reports, workers, lost, jobs = await self._services.store_threads.shared("metrics", read)
        others = [report for report in reports if report.server != own.server]
        lines = [*_workers(workers, lost), *_jobs(jobs), *_http([own, *others])]
        return Response("".join(f"{line}\n" for line in lines), media_type=CONTENT_TYPE)


def _workers(workers: Sequence[WorkerReport], lost: Sequence[WorkerReport]) -> Iterator[str]:
    for name, kind, what, value in _OF_WORKERS:
        yield from head(name, kind, what)
        for worker in workers:
            labels = {"model_name": worker.model, "worker": f"{worker.host}:{worker.pid}"}
            yield sample(name, labels, value(worker))
    yield from head("qwen_batch:workers", "gauge", "Workers by model and state.")
    for (model, state), count in sorted(Counter((worker.model, worker.state) for worker in [*workers, *lost]).items()):
        yield sample("qwen_batch:workers", {"model_name": model, "state": state}, count)


def _jobs(jobs: Sequence[Job]) -> Iterator[str]:
    unfinished = [job for job in jobs if not job.state.ended]
    yield from head("qwen_batch:jobs", "gauge", "Unfinished jobs by model and state, among the newest 1,000 jobs.")
    for (model, state), count in sorted(Counter((job.spec.model, job.state) for job in unfinished).items()):
        yield sample("qwen_batch:jobs", {"model_name": model, "state": state}, count)
    lines: Counter[tuple[str, str]] = Counter()
    for job in unfinished:
        model = job.spec.model
        lines[model, "completed"] += job.completed
        lines[model, "failed"] += job.failed
        lines[model, "waiting"] += job.spec.num_lines - job.done
    yield from head("qwen_batch:lines", "gauge", "Lines of these jobs by model and state.")
    for (model, kind), count in sorted(lines.items()):
        yield sample("qwen_batch:lines", {"model_name": model, "state": kind}, count)


def _http(reports: Sequence[HttpReport]) -> Iterator[str]:
    yield from head("http_requests_total", "counter", "Answered requests.")
    for report in reports:
        for route, method, status, count in report.requests:
            labels = {"server": report.server, "handler": route, "method": method, "status": str(status)}
            yield sample("http_requests_total", labels, count)
    yield from head("http_request_duration_seconds", "histogram", "Whole time of a request.")
    for report in reports:
        for route, counts, total in report.seconds:
            labels = {"server": report.server, "handler": route}
            yield from histogram("http_request_duration_seconds", labels, SECONDS, counts, total)
    yield from head("qwen_batch:upload_bytes_total", "counter", "Bytes of uploaded files.")
    yield from (sample("qwen_batch:upload_bytes_total", {"server": r.server}, r.upload_bytes) for r in reports)
    yield from head("qwen_batch:event_loop_delay_seconds", "gauge", "Delay of the event loop in the last second.")
    yield from (
        sample("qwen_batch:event_loop_delay_seconds", {"server": r.server}, r.loop_delay_seconds) for r in reports
    )
