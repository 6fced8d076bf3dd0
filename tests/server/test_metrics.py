"""Metrics of the whole fleet, from any HTTP process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from jobs.queue.celery_hints import CeleryHints
from jobs.records.job import ShardRef
from jobs.records.worker_report import WorkerReport
from jobs.stats.request_figures import HistogramFigures, RequestFigures
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import worker_report
from testing.processes.valkey import ValkeyProcess, free_port
from tests.server.conftest import REPOSITORY
from tests.server.files.test_files import FILE, PURPOSE, form

LINE = re.compile(r'([a-z0-9_:]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\} ([0-9.e+-]+|[0-9]+)')


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


FIGURES = RequestFigures(
    "batch",
    {"stop": 3, "length": 1},
    {"time_to_first_token_seconds": HistogramFigures((0.1, 1.0), (2, 1, 1), 7.5)},
)


def report_of(worker_id: str, host: str = "a", **changes: Any) -> WorkerReport:
    """A worker's report. Its process id is 1."""
    return structs.replace(worker_report(worker_id, host=host), **changes)


@contextmanager
def worker_reports(store: JobStore, *reports: WorkerReport) -> Iterator[None]:
    """The store has these reports during the block."""
    for report in reports:
        store.fleet.report_worker(report, 60)
    try:
        yield
    finally:
        for report in reports:
            store.fleet.forget_worker(report.worker_id)


def test_prometheus_own_parser_reads_every_metric(http: httpx.Client, store: JobStore) -> None:
    strange = report_of("strange:1:a", host='a"b\\c\nd', requests=(FIGURES,))
    with worker_reports(store, strange):
        families = {family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)}
    assert families["vllm:kv_cache_usage_perc"].type == "gauge"
    assert families["vllm:generation_tokens"].type == "counter"
    first_token = families["vllm:time_to_first_token_seconds"]
    assert first_token.type == "histogram"
    values = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in first_token.samples
        if sample.labels["worker"] == 'a"b\\c\nd:1'
    }
    name = first_token.name
    assert values == {
        (f"{name}_bucket", "0.1"): 2,
        (f"{name}_bucket", "1.0"): 3,
        (f"{name}_bucket", "+Inf"): 4,
        (f"{name}_sum", None): 7.5,
        (f"{name}_count", None): 4,
    }


def test_finished_requests_are_counted_by_origin_and_reason(http: httpx.Client, store: JobStore) -> None:
    with worker_reports(store, report_of("counting:1:a", host="counting", requests=(FIGURES,))):
        counted = scrape(http)["vllm:request_success_total"]
    found = {labels: value for labels, value in counted.items() if 'worker="counting:1"' in labels}
    assert sorted(found.values()) == [1, 3]
    assert all('origin="batch"' in labels and "finished_reason=" in labels for labels in found)


def test_the_death_of_a_worker_moves_no_counter_down(http: httpx.Client, store: JobStore) -> None:
    dying = report_of("dying:1:a", host="dying", output_tokens=500, requests=(FIGURES,))
    with worker_reports(store, dying):
        before = scrape(http)
        store.fleet.report_worker(dying, 0.001)  # its last report is old, but still there
        deadline = time.monotonic() + 60
        while "dying:1:a" not in [report.worker_id for report in store.fleet.lost_workers()]:
            assert time.monotonic() < deadline
        after = scrape(http)
    for name in (
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_count",
    ):
        dead = {labels: value for labels, value in before[name].items() if 'worker="dying:1"' in labels}
        assert dead
        assert {labels: after[name].get(labels) for labels in dead} == dead
    assert not [labels for labels in after.get("vllm:num_requests_running", {}) if "dying" in labels]


def test_messages_on_the_queue_are_counted_by_model(
    http: httpx.Client, store: JobStore, valkey: ValkeyProcess, sleepy: str
) -> None:
    labels = f'model_name="{sleepy}"'
    before = scrape(http)["qwen_batch:queue_hints"][labels]
    CeleryHints(valkey.url).send(sleepy, [ShardRef("job-of-nobody", index) for index in range(3)])
    assert scrape(http)["qwen_batch:queue_hints"][labels] == before + 3


def test_calls_of_the_store_are_timed(http: httpx.Client) -> None:
    def calls() -> float:
        return sum(scrape(http)["qwen_batch:store_seconds_count"].values())

    before = calls()
    http.get("/v1/files")
    assert calls() > before


def test_every_worker_is_a_series_of_its_own(http: httpx.Client, store: JobStore) -> None:
    with worker_reports(store, *(report_of(each, each[:3]) for each in ("one:1:a", "two:1:b"))):
        running = scrape(http)["vllm:num_requests_running"]
        assert len([labels for labels in running if 'worker="one:1"' in labels or 'worker="two:1"' in labels]) == 2


def test_the_names_are_those_of_the_documentation(http: httpx.Client) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| metric of `serve` |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`((?:vllm|qwen_batch|http)[a-z0-9_:]+)`", table))
    named = set(re.findall(r"^# TYPE (\S+)", http.get("/metrics").text, re.MULTILINE))
    assert named == documented


def series_of(http: httpx.Client) -> set[str]:
    """Names of all series that the metrics can have."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)", http.get("/metrics").text, re.MULTILINE))
    suffixes = ("_bucket", "_sum", "_count")
    return {
        f"{name}{suffix}" for name, kind in kinds.items() for suffix in (suffixes if kind == "histogram" else ("",))
    }


def test_the_dashboard_of_grafana_uses_only_metrics_that_there_are(http: httpx.Client) -> None:
    dashboard = json.loads((REPOSITORY / "deploy" / "grafana" / "qwen-batch.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = {name for expr in expressions for name in re.findall(r"\b(?:vllm:|qwen_batch:|http_)[a-z_0-9]+", expr)}
    assert len(named) > 15
    assert named <= series_of(http)


def program(name: str) -> str:
    """The path of a program of Debian's package `prometheus`."""
    path = shutil.which(name)
    if path is None:
        pytest.skip("Debian's package prometheus is not installed")
    return path


@pytest.mark.slow
def test_promtool_accepts_the_metrics(http: httpx.Client, store: JobStore) -> None:
    with worker_reports(store, report_of("checked:1:a", requests=(FIGURES,))):
        text = http.get("/metrics").text
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    # vLLM's names have colons, which promtool keeps for recording rules. Nothing else may be said.
    complaints = [line for line in checked.stderr.splitlines() if "should not contain ':'" not in line]
    assert complaints == []


@pytest.mark.slow
def test_a_real_prometheus_scrapes_the_service(http: httpx.Client, store: JobStore, tmp_path: Path) -> None:
    template = (REPOSITORY / "deploy" / "prometheus.yml").read_text()
    assert "127.0.0.1:8000" in template
    address = http.base_url.netloc.decode()
    (tmp_path / "prometheus.yml").write_text(template.replace("127.0.0.1:8000", address).replace("5s", "1s"))
    port = free_port()
    words = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    words.append(f"--web.listen-address=127.0.0.1:{port}")
    with (
        worker_reports(store, report_of("scraped:1:a", host="scraped", output_tokens=77, requests=(FIGURES,))),
        (tmp_path / "log").open("wb") as log,
    ):
        process = subprocess.Popen([program("prometheus"), *words], stdout=log, stderr=log)
        try:
            query = 'vllm:generation_tokens_total{worker="scraped:1"}'
            (found,) = _eventually(f"http://127.0.0.1:{port}/api/v1/query", query)
            assert found["value"][1] == "77"
            quantile = "histogram_quantile(0.5, vllm:time_to_first_token_seconds_bucket)"
            assert _eventually(f"http://127.0.0.1:{port}/api/v1/query", quantile)
        finally:
            process.kill()
            process.wait()


def _eventually(url: str, query: str) -> list[Any]:
    """The result of a query, as soon as there is one."""
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        try:
            result: list[Any] = httpx.get(url, params={"query": query}).json()["data"]["result"]
        except (httpx.TransportError, ValueError):
            result = []
        if result:
            return result
        time.sleep(0.1)  # Prometheus tells nobody when it has scraped
