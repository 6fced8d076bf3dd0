"""What a worker says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.records.worker_report import WorkerReport
from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import ShardBench, prompts
from worker.queue.refusals import Refusals
from worker.upkeep.cache_watch import LOOKS, SHORT_LOOKS
from worker.upkeep.reporter import Reporter


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def reporter(bench: ShardBench, clock: HandClock) -> Reporter:
    """A reporter whose reports the test makes itself: it is never started."""
    return Reporter(
        store=bench.store, link=bench.link, active=bench.active, refusals=Refusals(), facts=bench.facts, clock=clock
    )


def report(bench: ShardBench) -> WorkerReport:
    (report,) = bench.real_store.fleet.workers()
    return report


def test_a_worker_is_loading_until_it_has_an_engine(bench: ShardBench, reporter: Reporter) -> None:
    reporter.publish()
    assert (report(bench).state, report(bench).running) == ("loading", 0)
    reporter.loading("reading the weights")
    reporter.publish()
    assert report(bench).loading_step == "reading the weights"
    facts = replace(bench.facts, device="cuda:0 (NVIDIA H100)", dtype="bfloat16", compiled=True, load_seconds=3.0)
    reporter.loaded(facts, bench.engine)
    reporter.publish()
    found = report(bench)
    assert found.loading_step == ""
    assert (found.state, found.device, found.dtype, found.compiled) == ("idle", facts.device, "bfloat16", True)
    assert (found.worker_id, found.model, found.load_seconds) == (facts.worker_id, "fake", 3.0)
    assert found.peak_memory_bytes > 0


def test_a_busy_worker_names_its_jobs_and_its_speed(bench: ShardBench, reporter: Reporter, clock: HandClock) -> None:
    reporter.loaded(bench.facts, bench.engine)
    reporter.publish()
    bench.engine.hold()
    running = [bench.start(bench.add_job(prompts(10), job_id)[0]) for job_id in ("b", "a")]
    bench.engine.wait_for_submitted(20)
    bench.engine.finish(5)
    clock.advance(2)
    reporter.publish()
    found = report(bench)
    assert (found.state, found.jobs, found.running) == ("busy", ("a", "b"), 15)
    assert found.output_throughput == pytest.approx(5)  # 10 tokens in 2 s
    assert found.output_tokens == 10
    assert (found.prompt_tokens, found.cached_tokens, found.prefix_cache_hit_rate) == (20, 5, 0.25)
    bench.engine.finish()
    assert [shard.outcome() for shard in running] == ["finished", "finished"]


def test_a_worker_that_ends_says_so_and_then_disappears(bench: ShardBench, reporter: Reporter) -> None:
    reporter.loaded(bench.facts, bench.engine)
    bench.active.draining.set()
    reporter.publish()
    assert report(bench).state == "draining"
    bench.active.stop()
    reporter.publish()
    assert report(bench).state == "stopping"
    reporter.stop()
    assert bench.real_store.fleet.workers() == []


def test_each_job_gets_its_own_samples(bench: ShardBench, reporter: Reporter, clock: HandClock) -> None:
    reporter.loaded(bench.facts, bench.engine)
    bench.engine.hold()
    shards = [bench.add_job(prompts(count), job_id)[0] for job_id, count in (("a", 10), ("b", 6))]
    running = [bench.start(shards[0])]
    bench.engine.wait_for_submitted(10)
    running.append(bench.start(shards[1]))
    bench.engine.wait_for_submitted(16)
    bench.engine.finish(4)  # of job a
    clock.advance(2)
    bench.wait_until_done(4, "a")
    reporter.publish()
    (sample,) = bench.real_store.jobs.timeline("a")
    assert sample.worker_id == bench.facts.worker_id
    assert sample.output_throughput == pytest.approx(4)
    assert (sample.running, sample.kv_cache_usage) == (6, 0.5)
    (sample,) = bench.real_store.jobs.timeline("b")
    assert (sample.output_throughput, sample.running) == (0, 6)
    bench.engine.finish()
    assert [shard.outcome() for shard in running] == ["finished", "finished"]


def test_tokens_of_a_shard_that_ended_between_two_samples_are_counted(
    bench: ShardBench, reporter: Reporter, clock: HandClock
) -> None:
    reporter.loaded(bench.facts, bench.engine)
    (shard,) = bench.add_job(prompts(10))
    bench.runner.run(shard)
    clock.advance(1)
    reporter.publish()
    reporter.publish()
    (sample,) = bench.real_store.jobs.timeline("job")
    assert sample.output_throughput == pytest.approx(20)


def test_a_job_deleted_meanwhile_costs_its_sample_only(bench: ShardBench, reporter: Reporter, clock: HandClock) -> None:
    for job_id in ("a", "b"):
        bench.runner.run(bench.add_job(prompts(2), job_id)[0])
    bench.real_store.control.delete("a")
    clock.advance(1)
    reporter.publish()
    assert len(bench.real_store.jobs.timeline("b")) == 1


def test_a_store_that_is_down_costs_a_report_and_nothing_more(bench: ShardBench, reporter: Reporter) -> None:
    bench.store.cut()
    reporter.publish()
    bench.store.mend()
    reporter.publish()
    assert report(bench).worker_id == bench.facts.worker_id


def test_a_cache_that_stays_too_small_is_reported_and_logged_once_a_job(
    bench: ShardBench, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.loaded(replace(bench.facts, kv_cache_bytes=2**30), bench.engine)
    bench.engine.hold()
    running = [bench.start(bench.add_job(prompts(10), job_id)[0]) for job_id in ("b", "a")]
    bench.engine.wait_for_submitted(20)
    bench.engine.held_back = 40
    for _ in range(SHORT_LOOKS - 1):
        reporter.publish()
    assert (report(bench).held_back, report(bench).kv_cache_bytes_wanted, caplog.messages) == (0, 0, [])
    for _ in range(3):
        reporter.publish()
    assert (report(bench).held_back, report(bench).kv_cache_bytes_wanted) == (40, 3 * 2**29)
    advice = (
        "The KV cache has room for 20 of 60 sequences. More run together with `--kv-cache-memory 2GiB` on the worker."
    )
    assert caplog.messages == [f"{advice} job=a", f"{advice} job=b"]
    bench.engine.held_back = 0
    for _ in range(LOOKS - SHORT_LOOKS + 1):
        reporter.publish()
    assert (report(bench).held_back, report(bench).kv_cache_bytes_wanted) == (0, 0)
    bench.engine.finish()
    assert [shard.outcome() for shard in running] == ["finished", "finished"]


def test_a_cache_that_holds_nearly_all_is_no_news(bench: ShardBench, reporter: Reporter) -> None:
    reporter.loaded(replace(bench.facts, kv_cache_bytes=2**30), bench.engine)
    _, running = bench.start_held(10)
    bench.engine.held_back = 2
    for _ in range(LOOKS):
        reporter.publish()
    assert report(bench).held_back == 0
    bench.engine.finish()
    assert running.outcome() == "finished"
