"""Statistics: every figure recomputed from the lines and shards that made it."""

from __future__ import annotations

import statistics

import msgspec
import pytest
import redis

from jobs.keys import JobKeys
from jobs.records.completion import Completion, ErrorCode, Latency, Usage
from jobs.records.job import Lease, ShardRef
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0
LATENCIES = [Latency(ttft_ms=10.0 * n, tpot_ms=0.5 * n, e2el_ms=100.0 * n) for n in range(1, 101)]


def leased(store: JobStore, shard: ShardRef, worker_id: str = "worker-1") -> Lease:
    lease = store.work.lease(shard, worker_id, LONG)
    assert lease is not None
    return lease


def test_a_job_that_nobody_began_has_no_rates(store: JobStore) -> None:
    submit(store, new_job())
    stats = store.jobs.stats("job-1")
    assert (stats.total, stats.completed, stats.failed) == (5, 0, 0)
    assert (stats.duration_seconds, stats.output_throughput, stats.queue_seconds) == (None, None, None)
    assert (stats.mean_ttft_ms, stats.p99_e2el_ms, stats.mean_batch_size) == (None, None, None)
    assert (stats.workers, stats.finish_reasons, stats.kv_cache_usage_peak) == ((), {}, None)


def test_rates_are_totals_over_the_time_from_first_lease_to_last_line(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit(store, new_job(lines=4))
    under_test.let_pass(0.02)
    lease = leased(store, first)
    under_test.let_pass(0.03)
    store.work.write(lease, [completed(0, tokens=5), completed(1, tokens=6)])
    other = leased(store, second, "worker-2")
    store.work.write(other, [completed(2, tokens=7), failed(3)])
    under_test.let_pass(0.02)  # finishing later than the last line does not slow the rates
    store.work.finish_shard(lease, shard_stats())
    store.work.finish_shard(other, shard_stats("worker-2"))

    stats, job = store.jobs.stats("job-1"), store.jobs.get("job-1")
    assert job.first_step_at is not None and job.last_line_at is not None
    seconds = stats.duration_seconds
    assert seconds == pytest.approx(job.last_line_at - job.first_step_at, abs=1e-5)
    assert seconds is not None and seconds >= 0.029
    assert stats.output_throughput == 18 / seconds
    assert stats.total_token_throughput == (18 + 9) / seconds
    assert stats.request_throughput == 3 / seconds
    assert stats.queue_seconds is not None
    assert stats.queue_seconds >= 0.019
    assert stats.finish_reasons == {"stop": 3}


def test_lines_that_a_cancellation_closed_do_not_stretch_the_duration(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, _ = submit(store, new_job(lines=4))
    store.work.write(leased(store, first), [completed(0)])
    before = store.jobs.stats("job-1").duration_seconds
    under_test.let_pass(0.02)
    store.control.request_cancel("job-1")
    assert store.jobs.stats("job-1").duration_seconds == before


def test_the_time_an_ended_job_waits_for_its_retry_is_no_part_of_its_duration(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    under_test.let_pass(0.03)
    store.work.write(lease, [completed(0), failed(1)])
    store.work.finish_shard(lease, shard_stats())
    first_run = store.jobs.stats("job-1").duration_seconds
    assert first_run is not None
    under_test.let_pass(100)
    store.control.retry("job-1")
    lease = leased(store, shard)
    assert store.jobs.stats("job-1").duration_seconds == first_run
    under_test.let_pass(0.03)
    store.work.write(lease, [completed(1)])
    both_runs = store.jobs.stats("job-1").duration_seconds
    assert both_runs is not None
    assert first_run + 0.029 <= both_runs < first_run + 100


def test_latencies_are_exact_in_the_mean_and_within_one_percent_in_quantiles(store: JobStore) -> None:
    shards = submit(store, new_job(lines=100, shard_size=50))
    for shard, latencies in zip(shards, (LATENCIES[:50], LATENCIES[50:]), strict=True):
        lines = enumerate(latencies, start=50 * shard.index)
        store.work.write(leased(store, shard), [completed(line, latency=latency) for line, latency in lines])
    stats = store.jobs.stats("job-1")
    for name in ("ttft_ms", "tpot_ms", "e2el_ms"):
        values = [getattr(latency, name) for latency in LATENCIES]
        assert getattr(stats, f"mean_{name}") == pytest.approx(statistics.mean(values), rel=1e-9)
        assert getattr(stats, f"median_{name}") == pytest.approx(values[49], rel=0.01)
        assert getattr(stats, f"p99_{name}") == pytest.approx(values[98], rel=0.01)


def test_a_completion_of_one_token_has_no_time_per_output_token(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    one_token = Latency(ttft_ms=10.0, tpot_ms=None, e2el_ms=10.0)
    store.work.write(leased(store, shard), [completed(0, latency=one_token), failed(1)])
    stats = store.jobs.stats("job-1")
    assert (stats.mean_tpot_ms, stats.median_tpot_ms) == (None, None)
    assert stats.mean_ttft_ms == stats.mean_e2el_ms == 10.0


def test_a_line_delivered_twice_is_measured_once(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.work.write(lease, [completed(0, latency=LATENCIES[0])])
    store.work.write(lease, [completed(0, latency=LATENCIES[99])])
    assert store.jobs.stats("job-1").mean_ttft_ms == 10.0


def test_engine_figures_add_up_over_shards_and_workers(store: JobStore) -> None:
    for shard, worker in zip(submit(store, new_job()), ("worker-1", "worker-2", "worker-1"), strict=True):
        lease = leased(store, shard, worker)
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        store.work.finish_shard(
            lease, msgspec.structs.replace(shard_stats(worker), peak_memory_bytes=1000 - shard.index)
        )
    stats = store.jobs.stats("job-1")
    assert (stats.prefill_seconds, stats.decode_seconds) == (0.75, 2.25)
    assert (stats.mean_batch_size, stats.kv_cache_usage_peak) == (8.0, 0.5)
    assert (stats.load_seconds, stats.compile_seconds) == (1.5, 2.5)
    shares = [(share.worker_id, share.output_tokens, share.peak_memory_bytes) for share in stats.workers]
    assert shares == [("worker-1", 12, 1000), ("worker-2", 8, 999)]
    assert (stats.workers[0].device, stats.workers[0].dtype, stats.workers[0].compiled) == ("cpu", "float32", True)


def test_the_steps_in_which_the_cache_was_short_add_up_over_shards_and_the_largest_wish_counts(
    store: JobStore,
) -> None:
    assert_no_short_steps(store)
    for shard, worker in zip(submit(store, new_job()), ("worker-1", "worker-2", "worker-1"), strict=True):
        lease = leased(store, shard, worker)
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        measured = msgspec.structs.replace(
            shard_stats(worker),
            decode_steps=10,
            cache_short_steps=4 + shard.index,
            cache_short_running_sum=30,
            cache_short_waiting_sum=60 + shard.index,
            kv_cache_bytes_wanted=1000 - shard.index,
            cached_tokens=600 + shard.index,
            drafted_tokens=40,
            accepted_tokens=10 * (1 + shard.index),
        )
        store.work.finish_shard(lease, measured)
    stats = store.jobs.stats("job-1")
    assert stats.cache_short_share == 15 / 30
    assert (stats.cache_short_running, stats.cache_short_waiting) == (90 / 15, 183 / 15)
    assert stats.kv_cache_bytes_wanted == 1000
    assert stats.cached_tokens == 1803
    assert stats.draft_acceptance == 60 / 120


def assert_no_short_steps(store: JobStore) -> None:
    """Run a job of its own whose cache was large enough."""
    for shard in submit(store, msgspec.structs.replace(new_job(), id="roomy")):
        lease = leased(store, shard)
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        store.work.finish_shard(lease, shard_stats())
    stats = store.jobs.stats("roomy")
    assert (stats.cache_short_share, stats.cache_short_running, stats.cache_short_waiting) == (0.0, None, None)
    assert stats.kv_cache_bytes_wanted is None


def test_a_shard_that_needed_more_than_one_lease_counts_as_retried_once(store: JobStore) -> None:
    shard, other = submit(store, new_job(lines=4))
    for _ in range(3):
        store.work.release(leased(store, shard))
    leased(store, other)
    assert store.jobs.stats("job-1").retried_shards == 1


def test_every_statistic_can_be_written_as_json(store: JobStore) -> None:
    submit(store, new_job())
    assert msgspec.json.decode(msgspec.json.encode(store.jobs.stats("job-1")))["state"] == "queued"


def test_tokens_of_thoughts_are_summed_over_the_lines_that_are_stored_first(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit(store, new_job(lines=4))
    lease, other = leased(store, first), leased(store, second, "worker-2")
    store.work.write(lease, [with_thought(0, 5), completed(1)])
    store.work.write(lease, [with_thought(0, 50)])
    store.work.write(other, [with_thought(2, 7), failed(3)])
    stats = store.jobs.stats("job-1")
    assert (stats.reasoning_tokens, stats.malformed_tool_calls, stats.cut_structured_outputs) == (12, 2, 4)


def test_failed_lines_are_counted_by_their_codes_until_they_run_again(store: JobStore) -> None:
    first, _ = submit(store, new_job(lines=4, shard_size=3))
    lease = leased(store, first)
    store.work.write(lease, [failed(0, ErrorCode.PROMPT_TOO_LONG), failed(1), completed(2)])
    store.work.write(lease, [failed(2), failed(0)])  # these lines have a result
    assert store.jobs.stats("job-1").error_codes == {"internal_error": 1, "prompt_too_long": 1}
    store.work.finish_shard(lease, shard_stats())
    store.control.request_cancel("job-1")
    assert store.jobs.stats("job-1").error_codes == {"cancelled": 1, "internal_error": 1, "prompt_too_long": 1}
    store.control.retry("job-1")
    assert store.jobs.stats("job-1").error_codes == {}


def test_failed_lines_that_an_older_version_wrote_have_no_codes(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.work.write(lease, [failed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())
    client.hdel(JobKeys("job-1").meta, "error_code:internal_error")
    assert store.jobs.stats("job-1").error_codes == {}
    store.control.retry("job-1")
    store.work.write(leased(store, shard), [failed(0)])
    assert store.jobs.stats("job-1").error_codes == {"internal_error": 1}


def test_lines_of_quantised_weights_are_counted_once_each(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit(store, new_job(lines=4))
    quantised = [msgspec.structs.replace(completed(line), quantize="int8") for line in range(4)]
    lease, other = leased(store, first), leased(store, second, "worker-2")
    store.work.write(lease, quantised[:2])
    store.work.write(lease, quantised[:1])
    store.work.write(other, [quantised[2], completed(3)])
    assert store.jobs.stats("job-1").quantized_lines == 3
    assert [line.quantize for line in store.jobs.results("job-1")] == ["int8", "int8", "int8", "none"]


def with_thought(line: int, tokens: int) -> Completion:
    """A line's completion, with a thought of so many tokens, a malformed tool call and two cut structured outputs."""
    amounts = {"usage": Usage(3, tokens + 3, tokens), "malformed_tool_calls": 1, "cut_structured_outputs": 2}
    return msgspec.structs.replace(completed(line, tokens=tokens + 3), **amounts)
