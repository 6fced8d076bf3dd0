"""Metrics of the whole fleet, from any HTTP process."""

from __future__ import annotations

import re

import httpx

from jobs.stores.protocol import JobStore
from testing.sample_jobs import worker_report
from tests.server.conftest import REPOSITORY
from tests.server.test_files import FILE, PURPOSE, form

LINE = re.compile(r'([a-z_:]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\} ([0-9.e+-]+|[0-9]+)')


def scrape(http: httpx.Client) -> dict[str, dict[str, float]]:
    """The values by metric and labels, after a check of every line."""
    answer = http.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found: dict[str, dict[str, float]] = {}
    for line in answer.text.splitlines():
        if not line.startswith("# "):
            match = LINE.fullmatch(line)
            assert match, line
            found.setdefault(match[1], {})[match[2]] = float(match[3])
    return found


def test_requests_and_uploads_are_counted_by_route(http: httpx.Client) -> None:
    before = scrape(http)
    http.get("/v1/files/file-x")
    http.get("/v1/files/file-y")
    http.get("/v1/nothing/here")
    http.post("/v1/files", **form(PURPOSE, FILE))
    after = scrape(http)

    def more(name: str, label: str) -> float:
        return sum(
            value - before.get(name, {}).get(labels, 0) for labels, value in after[name].items() if label in labels
        )

    assert more("http_requests_total", 'handler="/v1/files/{id}",method="GET",status="404"') == 2
    assert more("http_requests_total", 'handler="other",method="GET",status="404"') == 1
    assert more("http_request_duration_seconds_count", 'handler="/v1/files/{id}"') == 2
    assert more("qwen_batch:upload_bytes_total", "server=") == len(FILE[2])


def test_every_worker_is_a_series_of_its_own(http: httpx.Client, store: JobStore) -> None:
    for worker_id in ("one:1:a", "two:1:b"):
        store.fleet.report_worker(worker_report(worker_id, host=worker_id[:3]), 60)
    try:
        running = scrape(http)["vllm:num_requests_running"]
        assert len([labels for labels in running if 'worker="one:1"' in labels or 'worker="two:1"' in labels]) == 2
    finally:
        for worker_id in ("one:1:a", "two:1:b"):
            store.fleet.forget_worker(worker_id)


def test_the_names_are_those_of_the_documentation(http: httpx.Client) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| metric of `serve` |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`((?:vllm|qwen_batch|http)[a-z_:]+)`", table))
    named = set(re.findall(r"^# TYPE (\S+)", http.get("/metrics").text, re.MULTILINE))
    assert named == documented
