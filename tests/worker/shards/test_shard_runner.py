"""One shard from store to store, over both stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.request import EngineDead, RequestTooLong
from jobs.errors import StoreFull
from jobs.records.completion import ErrorCode, Usage
from jobs.records.job import JobState
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from tests.worker.shard_bench import ShardBench, prompts
from worker.shards.shard_runner import Outcome


def test_a_shard_is_run_from_store_to_store_and_ends_its_job(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(3))
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert bench.texts() == ["0p", "1p", "2p"]
    job = bench.job()
    assert (job.state, job.completed, job.failed) == (JobState.COMPLETED, 3, 0)
    assert (job.total_input_tokens, job.total_output_tokens) == (6, 6)


def test_a_completion_has_usage_latency_reason_and_the_token_ids_that_were_asked_for(bench: ShardBench) -> None:
    settings = SamplingSettings(max_tokens=2)
    (shard,) = bench.add_job([Prompt(0, "a", text="abc", settings=settings, return_token_ids=True), *prompts(2)[1:]])
    bench.runner.run(shard)
    asked, other = bench.results()
    assert (asked.id, asked.text, asked.finish_reason) == ("a", "cb", FinishReason.LENGTH)
    assert asked.usage == Usage(prompt_tokens=3, completion_tokens=2)
    assert asked.token_ids == (ord("c"), ord("b"))
    assert other.token_ids is None
    assert asked.latency is not None
    assert asked.latency.ttft_ms == pytest.approx(10)
    assert asked.latency.tpot_ms == pytest.approx(2)
    assert asked.latency.e2el_ms == pytest.approx(12)


def test_a_completion_tells_which_weights_made_it(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(2))
    runner = replace(bench.runner, facts=replace(bench.facts, quantize="int8"))
    assert runner.run(shard) is Outcome.FINISHED
    assert [completion.quantize for completion in bench.results()] == ["int8", "int8"]


def test_the_engines_share_of_work_becomes_the_jobs_statistics(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(3))
    bench.runner.run(shard)
    stats = bench.real_store.jobs.stats("job")
    assert (stats.prefill_seconds, stats.decode_seconds) == pytest.approx((0.1, 0.2))
    assert stats.mean_batch_size == pytest.approx(4)
    (share,) = stats.workers
    assert (share.worker_id, share.output_tokens) == (bench.facts.worker_id, 6)


def test_running_a_shard_twice_writes_each_line_once(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(3))
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert bench.runner.run(shard) is Outcome.NOTHING_TO_DO
    assert len(bench.engine.submitted) == 3
    assert bench.job().done == len(bench.results()) == 3


def test_a_hint_for_a_shard_that_is_being_run_is_dropped(bench: ShardBench) -> None:
    shard, first = bench.start_held(3)
    assert bench.runner.run(shard) is Outcome.NOTHING_TO_DO
    bench.engine.finish()
    assert first.outcome() is Outcome.FINISHED
    assert bench.texts() == ["0p", "1p", "2p"]


def test_a_hint_for_a_deleted_job_is_dropped(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(1))
    bench.runner.run(shard)
    bench.real_store.control.delete("job")
    assert bench.runner.run(shard) in {Outcome.NOTHING_TO_DO, Outcome.LOST}


def test_only_lines_without_a_result_are_run(bench: ShardBench) -> None:
    shard, first = bench.start_held(5)
    bench.engine.finish(2)
    bench.wait_until_done(2)
    bench.active.stop()
    assert first.outcome() is Outcome.HANDED_BACK
    with ShardBench(bench.real_store) as other:
        assert other.runner.run(shard) is Outcome.FINISHED
        assert [len(request.token_ids) for request in other.engine.submitted] == [2, 2, 2]
    assert bench.texts() == ["0p", "1p", "2p", "3p", "4p"]


def test_several_shards_share_the_engine(bench: ShardBench) -> None:
    bench.engine.hold()
    shards = bench.add_job(prompts(6), shard_size=2)
    running = [bench.start(shard) for shard in shards]
    bench.engine.wait_for_submitted(6)
    bench.engine.finish()
    assert {shard.outcome() for shard in running} == {Outcome.FINISHED}
    assert bench.texts() == ["0p", "1p", "2p", "3p", "4p", "5p"]
    assert bench.job().state is JobState.COMPLETED


def test_finished_lines_are_stored_while_others_still_run(bench: ShardBench) -> None:
    _, running = bench.start_held(3)
    bench.engine.finish(1)
    bench.wait_until_done(1)
    assert bench.job().state is JobState.IN_PROGRESS
    bench.engine.finish()
    assert running.outcome() is Outcome.FINISHED


def test_lines_that_cannot_run_fail_alone_and_counters_equal_lines(bench: ShardBench) -> None:
    long, empty = Prompt(1, "long", text="x" * 5_000), Prompt(3, "empty", text="")
    lines = prompts(5)
    lines[1], lines[3] = long, empty
    (shard,) = bench.add_job(lines)
    assert bench.runner.run(shard) is Outcome.FINISHED
    results = bench.results()
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    assert [result.error.code for result in results if result.error] == [
        ErrorCode.PROMPT_TOO_LONG,
        ErrorCode.INVALID_LINE,
    ]
    job = bench.job()
    assert (job.completed, job.failed) == (3, 2)
    assert job.state is JobState.COMPLETED


def test_a_shard_of_refused_lines_only_is_finished_without_the_engine(bench: ShardBench) -> None:
    (shard,) = bench.add_job([Prompt(index, str(index), invalid="bad") for index in range(3)])
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert bench.engine.submitted == []
    assert bench.job().failed == 3


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RequestTooLong("The prompt has 2 tokens; this engine takes 1."), ErrorCode.PROMPT_TOO_LONG),
        (RuntimeError("no such thing"), ErrorCode.INTERNAL_ERROR),
    ],
)
def test_what_the_engine_refuses_fails_alone(bench: ShardBench, failure: Exception, code: ErrorCode) -> None:
    bench.engine.failures[tuple(map(ord, "p1"))] = failure
    (shard,) = bench.add_job(prompts(3))
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert [result.error.code if result.error else None for result in bench.results()] == [None, code, None]


def test_cancel_aborts_the_sequences_keeps_finished_lines_and_ends_the_job(bench: ShardBench) -> None:
    _, running = bench.start_held(4)
    bench.engine.finish(1)
    bench.wait_until_done(1)
    bench.real_store.control.request_cancel("job")
    assert running.outcome() is Outcome.CANCELLED
    assert len(bench.engine.aborted) == 3
    job = bench.job()
    assert (job.state, job.completed, job.failed) == (JobState.CANCELLED, 1, 3)
    codes = [result.error.code if result.error else None for result in bench.results()]
    assert codes == [None, *[ErrorCode.CANCELLED] * 3]


def test_a_stop_writes_finished_lines_gives_the_shard_back_and_hints_it(bench: ShardBench) -> None:
    shard, running = bench.start_held(4)
    bench.engine.finish(2)
    bench.active.stop()
    assert running.outcome() is Outcome.HANDED_BACK
    assert bench.job().completed == 2
    assert bench.hints.sent == [shard]
    assert bench.real_store.work.lease(shard, "another", 4.0) is not None


def test_a_hint_that_comes_while_the_worker_stops_is_passed_on(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(1))
    bench.active.stop()
    assert bench.runner.run(shard) is Outcome.HANDED_BACK
    assert bench.hints.sent == [shard]
    assert bench.engine.submitted == []


def test_a_lost_lease_aborts_the_shard_and_its_late_lines_change_nothing(short_leases: ShardBench) -> None:
    bench = short_leases
    shard, running = bench.start_held(3)
    bench.keeper.stop()  # the process is frozen: nothing renews
    with ShardBench(bench.real_store) as other:
        other.run_when_free(shard)
    before = bench.results()
    bench.engine.finish(1)
    bench.keeper.give_up_expired()
    assert running.outcome() is Outcome.LOST
    assert bench.results() == before
    assert bench.job().done == 3
    assert bench.hints.sent == []


def test_finished_lines_are_held_while_the_store_is_down_and_written_when_it_is_back(bench: ShardBench) -> None:
    _, running = bench.start_held(3)
    bench.store.cut()
    bench.engine.finish()
    bench.store.wait_for_refused("write", 2)
    assert bench.job().done == 0
    bench.store.mend()
    assert running.outcome() is Outcome.FINISHED
    assert bench.texts() == ["0p", "1p", "2p"]


def test_finished_lines_are_held_while_the_store_is_full(bench: ShardBench) -> None:
    _, running = bench.start_held(3)
    bench.store.full = StoreFull("Redis has reached its memory limit.")
    bench.engine.finish()
    bench.store.wait_for_refused("write", 2)
    bench.store.mend()
    assert running.outcome() is Outcome.FINISHED
    assert bench.job().completed == 3


def test_lines_finished_before_a_long_outage_are_kept_and_the_rest_goes_back(short_leases: ShardBench) -> None:
    bench = short_leases
    shard, running = bench.start_held(3)
    bench.store.cut()
    bench.engine.finish(1)
    bench.engine.wait_for_aborted(2)  # the lease's time has passed
    bench.store.mend()
    assert running.outcome() is Outcome.HANDED_BACK
    assert bench.texts() == ["0p"]
    assert bench.hints.sent == [shard]


def test_a_store_that_is_down_at_the_start_puts_the_shard_off(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(1))
    bench.store.cut()
    assert bench.runner.run(shard) is Outcome.PUT_OFF
    bench.store.mend()
    assert bench.runner.run(shard) is Outcome.FINISHED


def test_a_stop_does_not_wait_for_a_store_that_is_down(bench: ShardBench) -> None:
    _, running = bench.start_held(2)
    bench.store.cut()
    bench.active.stop()
    assert running.outcome() is Outcome.PUT_OFF


def test_a_dead_engine_is_passed_on_and_the_lease_left_to_expire(bench: ShardBench) -> None:
    shard, running = bench.start_held(2)
    bench.engine.die()
    with pytest.raises(EngineDead):
        running.outcome()
    assert bench.keeper.leases() == []
    assert bench.real_store.work.lease(shard, "another", 4.0) is None
