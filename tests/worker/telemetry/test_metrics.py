"""What a scraper sees of a worker."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from engine.request import Request
from jobs.errors import InvalidInput, StoreUnavailable
from jobs.records.sampling import SamplingParams
from testing.processes.valkey import free_port
from tests.worker.fake_engine import FakeEngine
from worker.queue.refusals import Refusals
from worker.telemetry.metrics import WorkerMetrics, serve_metrics
from worker.telemetry.request_meter import MeteredEngine, RequestMeter
from worker.upkeep.store_link import StoreLink

MODEL = 'Qwen/"Q"\n3'
LINE = re.compile(r'[a-z_]+:[a-z0-9_]+\{model_name="Qwen/\\"Q\\"\\n3"(,[a-z_]+="[^"]+")?\} [0-9.e+-]+')


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(MODEL, RequestMeter(), Refusals(), StoreLink(threading.Event()))


def figures(metrics: WorkerMetrics) -> dict[str, float]:
    """Name, and labels but for the model's, to value."""
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    label = 'model_name="Qwen/\\"Q\\"\\n3"'
    pairs = (line.replace(f"{{{label}}}", "").replace(f"{label},", "").rsplit(" ", 1) for line in lines)
    return {name: float(value) for name, value in pairs}


def requests(count: int, max_tokens: int) -> list[Request]:
    return [Request((65, 66, 67), SamplingParams(max_tokens=max_tokens)) for _ in range(count)]


def test_before_the_model_is_loaded_there_is_nothing_but_zeros(metrics: WorkerMetrics) -> None:
    assert {name for name, value in figures(metrics).items() if value} == {"qwen_batch:store_answers"}


def test_a_label_names_the_device_once_the_model_is_loaded(metrics: WorkerMetrics) -> None:
    assert "device_info" not in metrics.text()
    metrics.device = "cpu (avx512)"
    assert figures(metrics)['qwen_batch:device_info{device="cpu (avx512)"}'] == 1


def test_finished_requests_are_counted_by_reason_and_time(metrics: WorkerMetrics) -> None:
    engine = metrics.engine = MeteredEngine(FakeEngine(), metrics.meter)
    engine.submit_many(requests(3, max_tokens=10) + requests(2, max_tokens=2))
    seen = figures(metrics)
    assert seen['vllm:request_success_total{finished_reason="stop"}'] == 3
    assert seen['vllm:request_success_total{finished_reason="length"}'] == 2
    assert (seen["vllm:prompt_tokens_total"], seen["vllm:generation_tokens_total"]) == (15, 13)
    assert seen['vllm:time_to_first_token_seconds_bucket{le="0.025"}'] == 5  # the fake engine's is 10 ms
    assert seen["vllm:e2e_request_latency_seconds_count"] == 5
    assert seen["vllm:request_queue_time_seconds_sum"] == pytest.approx(5 * 0.004)
    assert seen["vllm:inter_token_latency_seconds_count"] == 3 * 2 + 2 * 1  # one less than its tokens per request
    assert seen['vllm:inter_token_latency_seconds_bucket{le="0.0025"}'] == 8
    assert seen["vllm:spec_decode_num_draft_tokens_total"] == 3 * 13
    assert seen["vllm:spec_decode_num_accepted_tokens_total"] == 13
    assert seen["vllm:request_time_per_output_token_seconds_sum"] == pytest.approx(5 * 0.002)
    assert seen["qwen_batch:ready"] == 1


def test_interactive_requests_and_lines_of_batches_are_reported_apart(metrics: WorkerMetrics) -> None:
    engine = metrics.engine = MeteredEngine(FakeEngine(), metrics.meter)
    engine.submit_many([*requests(3, max_tokens=2), replace(requests(1, max_tokens=10)[0], urgent=True)])
    batch, online = metrics.meter.figures()
    assert (batch.origin, batch.finished) == ("batch", {"length": 3})
    assert (online.origin, online.finished) == ("online", {"stop": 1})
    first_token = batch.histograms["time_to_first_token_seconds"]
    assert sum(first_token.counts) == 3
    assert first_token.sum == pytest.approx(0.03)
    assert online.histograms["request_generation_tokens"].sum == 3
    assert batch.histograms["request_time_per_output_token_seconds"].sum == pytest.approx(3 * 0.002)
    assert sum(online.histograms["inter_token_latency_seconds"].counts) == 2
    assert online.histograms["request_queue_time_seconds"].sum == pytest.approx(0.004)


def test_aborted_and_failed_requests_do_not_count(metrics: WorkerMetrics) -> None:
    fake = FakeEngine()
    fake.hold()
    engine = metrics.engine = MeteredEngine(fake, metrics.meter)
    tickets = engine.submit_many(requests(4, max_tokens=2))
    assert figures(metrics)["vllm:num_requests_running"] == 4
    engine.abort_many(tickets[:2])
    fake.die()
    assert figures(metrics)["vllm:e2e_request_latency_seconds_count"] == 0


def test_refusals_and_a_silent_store_show(metrics: WorkerMetrics) -> None:
    metrics.refusals.add("it is not a message")
    metrics.link.failed(StoreUnavailable("it is not there"))
    seen = figures(metrics)
    assert (seen["qwen_batch:refused_messages_total"], seen["qwen_batch:store_answers"]) == (1, 0)


def test_they_are_served_on_their_port_and_nothing_else_is(metrics: WorkerMetrics) -> None:
    port = free_port()
    serve_metrics(port, metrics.text)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read().decode() == metrics.text()
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60)
    refused.value.close()
    with pytest.raises(InvalidInput, match=f"port {port}"):
        serve_metrics(port, metrics.text)
