"""The metrics of all HTTP processes, as their reports have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from jobs.prometheus_text import head, histogram, sample
from jobs.service.http_report import HttpReport, RouteSeconds
from server.metrics.http_meter import SECONDS

# Name, meaning, and the times in a report.
_TIMES: tuple[tuple[str, str, Callable[[HttpReport], Sequence[RouteSeconds]]], ...] = (
    ("http_request_duration_seconds", "Whole time of a request.", lambda report: report.seconds),
    (
        "qwen_batch:http_time_to_first_token_seconds",
        "From an interactive request to the first byte of its answer's body.",
        lambda report: report.first_seconds,
    ),
)


def http_metrics(reports: Sequence[HttpReport]) -> Iterator[str]:
    """Iterate over the lines of all HTTP processes."""
    yield from head("http_requests_total", "counter", "Answered requests.")
    for report in reports:
        for route, method, status, count in report.requests:
            labels = {"server": report.server, "handler": route, "method": method, "status": str(status)}
            yield sample("http_requests_total", labels, count)
    for name, what, times in _TIMES:
        yield from head(name, "histogram", what)
        for report in reports:
            for route, counts, total in times(report):
                if len(counts) == len(SECONDS) + 1:
                    yield from histogram(name, {"server": report.server, "handler": route}, SECONDS, counts, total)
    yield from head("qwen_batch:store_seconds", "histogram", "Time of a call of the job store, with its wait.")
    for report in reports:
        if report.store_seconds is not None:
            counts, total = report.store_seconds
            yield from histogram("qwen_batch:store_seconds", {"server": report.server}, SECONDS, counts, total)
    yield from head("qwen_batch:upload_bytes_total", "counter", "Bytes of uploaded files.")
    yield from (sample("qwen_batch:upload_bytes_total", {"server": r.server}, r.upload_bytes) for r in reports)
    yield from head("qwen_batch:event_loop_delay_seconds", "gauge", "Delay of the event loop in the last second.")
    yield from (
        sample("qwen_batch:event_loop_delay_seconds", {"server": r.server}, r.loop_delay_seconds) for r in reports
    )
