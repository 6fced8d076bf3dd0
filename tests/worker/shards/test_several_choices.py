"""Lines that ask for several completions: each is what a line of its own gives, and they share one result."""

from __future__ import annotations

import msgspec

from engine.request import RequestTooLong
from jobs.records.completion import ErrorCode, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings, line_seed
from tests.worker.shard_bench import ShardBench, prompts
from worker.shards.shard_runner import Outcome

GREEDY = SamplingSettings(temperature=0)
SAMPLED = SamplingSettings(temperature=1, seed=7)


def test_the_first_choice_has_the_lines_seed_and_each_other_one_a_seed_of_its_own(bench: ShardBench) -> None:
    (shard,) = bench.add_job([Prompt(0, "a", text="abc", settings=SAMPLED, n=3), *prompts(2)[1:]])
    assert bench.runner.run(shard) is Outcome.FINISHED
    requests = bench.engine.submitted[:3]
    assert [request.params.seed for request in requests] == [7, line_seed(7, 1), line_seed(7, 2)]
    assert {request.token_ids for request in requests} == {tuple(map(ord, "abc"))}
    asked, other = bench.results()
    assert [choice.text for choice in asked.choices] == ["cba"] * 3
    assert asked.usage == Usage(prompt_tokens=3, completion_tokens=9)
    assert len(other.choices) == 1
    assert bench.job().total_output_tokens == 9 + 2


def test_greedy_choices_are_computed_once_and_given_as_often_as_asked_for(bench: ShardBench) -> None:
    (shard,) = bench.add_job([Prompt(0, "a", text="abc", settings=GREEDY, n=3, return_token_ids=True)])
    bench.runner.run(shard)
    assert len(bench.engine.submitted) == 1
    (asked,) = bench.results()
    assert [(choice.text, choice.token_ids) for choice in asked.choices] == [("cba", tuple(map(ord, "cba")))] * 3
    assert asked.usage == Usage(prompt_tokens=3, completion_tokens=9)


def test_the_choices_of_several_prompts_are_in_the_order_of_the_prompts(bench: ShardBench) -> None:
    line = Prompt(0, "a", text="ab", more_prompts=((1, 2, 3), "x"), endpoint="completions", n=2)
    for number, settings in enumerate((GREEDY, SAMPLED)):
        (shard,) = bench.add_job([msgspec.structs.replace(line, settings=settings)], f"job-{number}")
        bench.runner.run(shard)
        (asked,) = bench.results(f"job-{number}")
        assert [choice.text for choice in asked.choices] == ["ba", "ba", "\3\2\1", "\3\2\1", "x", "x"]
        assert asked.usage == Usage(prompt_tokens=2 + 3 + 1, completion_tokens=2 * (2 + 3 + 1))


def test_the_first_failure_of_a_choice_aborts_the_others_and_fails_the_line_alone(bench: ShardBench) -> None:
    bench.engine.hold()
    bench.engine.failures[tuple(map(ord, "bad"))] = RequestTooLong("It is too long.")
    bad = Prompt(0, "a", text="bad", more_prompts=("ab", "cd"), settings=GREEDY)
    (shard,) = bench.add_job([bad, *prompts(2)[1:]])
    running = bench.start(shard)
    bench.engine.wait_for_submitted(4)
    bench.engine.finish(1)
    bench.engine.wait_for_aborted(2)
    bench.engine.finish()
    assert running.outcome() is Outcome.FINISHED
    failed, other = bench.results()
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == (ErrorCode.PROMPT_TOO_LONG, "It is too long.")
    assert other.text == "1p"


def test_a_prompt_that_cannot_run_fails_its_line_before_anything_of_it_runs(bench: ShardBench) -> None:
    line = Prompt(0, "a", text="ab", more_prompts=("x" * 1_001, "cd"))
    (shard,) = bench.add_job([line, *prompts(2)[1:]])
    bench.runner.run(shard)
    failed, other = bench.results()
    assert failed.error is not None and failed.error.code is ErrorCode.PROMPT_TOO_LONG
    assert other.text == "1p"
    assert len(bench.engine.submitted) == 1


def test_the_choices_of_a_paused_line_are_all_given_back(bench: ShardBench) -> None:
    bench.engine.hold()
    (shard,) = bench.add_job([Prompt(0, "a", text="abc", settings=SAMPLED, n=3)])
    running = bench.start(shard)
    bench.engine.wait_for_submitted(3)
    bench.engine.finish(1)
    bench.real_store.control.pause("job")
    bench.engine.wait_for_aborted(2)
    assert running.outcome() is Outcome.PAUSED
    assert bench.results() == []


def test_latencies_of_several_choices_go_from_the_first_token_to_the_last(bench: ShardBench) -> None:
    (shard,) = bench.add_job([Prompt(0, "a", text="ab", more_prompts=("abcdef",), settings=GREEDY)])
    bench.runner.run(shard)
    latency = bench.results()[0].latency
    assert latency is not None
    assert 9 < latency.ttft_ms < 60_000
    assert latency.e2el_ms >= latency.ttft_ms + 2 * 5 - 0.1
    assert latency.tpot_ms is not None and abs(latency.tpot_ms - 2) < 1e-6
