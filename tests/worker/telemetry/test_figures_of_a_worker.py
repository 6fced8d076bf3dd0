"""Figures that a worker gives: what is counted once, how long it holds, and where a border belongs."""

from __future__ import annotations

import threading

import pytest

from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import ShardBench
from worker.queue.refusals import Refusals
from worker.shards.active_shards import ActiveShard
from worker.shards.in_flight import InFlight
from worker.telemetry.metrics import WorkerMetrics
from worker.telemetry.request_meter import Histogram, RequestMeter
from worker.upkeep.reporter import LIFE_SECONDS, LOADING_LIFE_SECONDS, Reporter, Throughput
from worker.upkeep.store_link import StoreLink


def test_a_token_is_counted_in_one_sample_only(bench: ShardBench) -> None:
    shard = ActiveShard(None, InFlight(bench.engine))
    for token in (7, 8, 9):
        shard.count_token(token)
    assert (shard.take_tokens(), shard.take_tokens()) == (3, 0)
    shard.count_token(7)
    assert shard.take_tokens() == 1


def test_a_worker_that_loads_may_be_silent_for_longer(bench: ShardBench, monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[float] = []
    monkeypatch.setattr(bench.real_store.fleet, "report_worker", lambda _, ttl_seconds: lives.append(ttl_seconds))
    reporter = Reporter(store=bench.store, link=bench.link, active=bench.active, refusals=Refusals(), facts=bench.facts)
    reporter.publish()
    reporter.loaded(bench.facts, bench.engine)
    reporter.publish()
    assert lives == [LOADING_LIFE_SECONDS, LIFE_SECONDS]


def test_a_timeline_has_a_sample_a_second(bench: ShardBench) -> None:
    clock = HandClock()
    reporter = Reporter(
        store=bench.store, link=bench.link, active=bench.active, refusals=Refusals(), facts=bench.facts, clock=clock
    )
    reporter.loaded(bench.facts, bench.engine)
    _, running = bench.start_held(2)
    for _ in range(4):
        clock.advance(0.5)
        reporter.publish()
    assert len(bench.real_store.jobs.timeline("job")) == 2
    bench.engine.finish()
    assert running.outcome() == "finished"


def test_a_value_on_a_border_is_counted_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 2.0, 2.5):
        histogram.add(value)
    assert histogram.counts == [1, 1, 1]


def test_a_bucket_of_a_histogram_counts_the_smaller_ones_too() -> None:
    meter = RequestMeter()
    meter.tpot = Histogram((1.0, 2.0))
    for value in (0.5, 1.5, 2.5):
        meter.tpot.add(value)
    text = WorkerMetrics("demo", meter, Refusals(), StoreLink(threading.Event())).text()
    name = "vllm:request_time_per_output_token_seconds_bucket"
    counts = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)]
    assert counts == [1, 2, 3]


def test_a_speed_looks_back_over_the_whole_window() -> None:
    speed = Throughput(window_seconds=5.0)
    for second in range(6):
        speed.per_second(float(second), 10 * second)
    assert speed.per_second(6.0, 50) == pytest.approx((50 - 10) / 5)
