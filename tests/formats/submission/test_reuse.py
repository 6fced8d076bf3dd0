"""`submit --reuse`: an edited file costs its new lines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobs.files.prompt_file import PromptFile
from jobs.records.completion import Completion, ErrorCode, Usage
from jobs.records.job import Job
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from jobs.records.shard_stats import ShardStats
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased
from jobs.submission.reuse import ReuseCounts
from jobs.submission.submission import Submitted
from jobs.submission.submit_options import SubmitOptions
from testing.jobs.sample_jobs import worker_report
from tests.formats.submission.submitting import Hints, submit_file

GREEDY = SamplingSettings(temperature=0.0)
SAMPLED = SamplingSettings(temperature=0.7)


def submit(store: JobStore, folder: Path, lines: Sequence[Any], options: SubmitOptions) -> Job:
    return submission(store, folder, lines, options).job


def submission(store: JobStore, folder: Path, lines: Sequence[Any], options: SubmitOptions) -> Submitted:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with PromptFile.open(str(path), io.BytesIO()) as file:
        return submit_file(store, Hints(), file, options)


@contextmanager
def live_worker(store: JobStore, model: str, quantize: str) -> Iterator[None]:
    report = msgspec.structs.replace(worker_report(f"{model}-{quantize}", model=model), quantize=quantize)
    store.fleet.report_worker(report, 600)
    yield
    store.fleet.forget_worker(report.worker_id)


def run(store: JobStore, job: Job, failing: frozenset[str] = frozenset(), quantize: str = "none") -> list[str]:
    """Play the worker to the job's end; returns the ids of the lines that were run."""
    ran = []
    for shard in store.recovery.recoverable_shards(job.spec.model, 10_000):
        lease = store.work.lease(shard, "worker", 60)
        assert lease is not None
        prompts = store.work.pending(lease)
        answers = [_answer(prompt, job.id, prompt.id in failing) for prompt in prompts]
        store.work.write(lease, [msgspec.structs.replace(answer, quantize=quantize) for answer in answers])
        store.work.finish_shard(lease, ShardStats("worker", "cpu", "float32", "none", True, 0.0, 0.0))
        ran += [prompt.id for prompt in prompts]
    return ran


def _answer(prompt: Prompt, job_id: str, fails: bool) -> Completion:
    if fails:
        return Completion.failed(prompt.index, prompt.id, ErrorCode.INTERNAL_ERROR, "no")
    text = f"{prompt.text} by {job_id} at {prompt.index}"
    return Completion(prompt.index, prompt.id, text, FinishReason.STOP, Usage(5, 7))


def texts(store: JobStore, job: Job) -> list[str | None]:
    return [line.text for line in store.jobs.results(job.id)]


def questions(count: int) -> list[dict[str, str]]:
    return [{"id": f"q-{number}", "prompt": f"What is {number}?"} for number in range(count)]


@pytest.mark.parametrize(
    ("store", "defaults"),
    [
        *(("memory", GREEDY), ("redis", SAMPLED)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("memory", SAMPLED), ("redis", GREEDY))),
    ],
    indirect=["store"],
)
def test_ten_new_lines_in_ten_thousand_cost_ten_lines(
    store: JobStore, model: str, tmp_path: Path, defaults: SamplingSettings
) -> None:
    lines = questions(10_000)
    first = submit(store, tmp_path, lines, SubmitOptions(model, defaults))
    run(store, first)
    for place in range(0, 10_000, 1000):
        lines.insert(place, {"id": f"new-{place}", "prompt": f"And {place}?"})
    second = submit(store, tmp_path, lines, SubmitOptions(model, defaults, reuse=True))
    assert (second.reused, second.completed, second.total_output_tokens) == (10_000, 10_000, 70_000)
    assert run(store, second) == [f"new-{place}" for place in range(0, 10_000, 1000)]
    results = list(store.jobs.results(second.id))
    assert [line.id for line in results] == [line["id"] for line in lines]
    assert [line.index for line in results] == list(range(10_010))
    assert results[1].text == f"What is 0? by {first.id} at 0"
    assert results[1].usage == Usage(5, 7)
    third = submit(store, tmp_path, lines, SubmitOptions(model, defaults, reuse=True))
    assert (third.state, third.reused) == ("completed", 10_010)


def test_other_settings_other_seeds_and_other_models_are_other_work(
    store: JobStore, model: str, tmp_path: Path
) -> None:
    lines = [*questions(3), {"id": "own", "prompt": "Own?", "max_tokens": 5}]
    run(store, submit(store, tmp_path, lines, SubmitOptions(model, SAMPLED, seed=1)))
    for options, reused in (
        (SubmitOptions(model, SAMPLED, seed=1, reuse=True), 4),
        (SubmitOptions(model, SAMPLED, seed=2, reuse=True), 0),
        (SubmitOptions(model, SamplingSettings(temperature=0.7, max_tokens=5), seed=1, reuse=True), 1),
        (SubmitOptions(model, GREEDY, seed=1, reuse=True), 0),
        (SubmitOptions(f"not {model}", SAMPLED, seed=1, reuse=True), 0),
        (SubmitOptions(model, SAMPLED, seed=1), 0),
    ):
        assert submit(store, tmp_path, lines, options).reused == reused, options


def test_a_project_takes_over_its_own_completions_and_no_others(store: JobStore, model: str, tmp_path: Path) -> None:
    first = SubmitOptions(model, GREEDY, reuse=True, project="first")
    run(store, submit(store, tmp_path, questions(3), first))
    assert submit(store, tmp_path, questions(3), replace(first, project="second")).reused == 0
    assert submit(store, tmp_path, questions(3), first).reused == 3
    assert submit(store, tmp_path, questions(3), replace(first, project=None)).reused == 3  # the command line sees all


def test_a_seed_does_not_matter_to_greedy_lines(store: JobStore, model: str, tmp_path: Path) -> None:
    run(store, submit(store, tmp_path, questions(3), SubmitOptions(model, GREEDY, seed=1)))
    assert submit(store, tmp_path, questions(3), SubmitOptions(model, GREEDY, seed=2, reuse=True)).reused == 3


def test_the_models_own_settings_count_where_nobody_says_more(store: JobStore, model: str, tmp_path: Path) -> None:
    card = ModelCard(model, 1000, 100, False, defaults=GREEDY)
    run(store, submit(store, tmp_path, questions(2), SubmitOptions(model, card=card, seed=1)))
    assert (
        submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY, card=card, seed=2, reuse=True)).reused == 2
    )


def test_equal_sampled_lines_keep_their_different_completions(store: JobStore, model: str, tmp_path: Path) -> None:
    lines = [{"id": f"a-{number}", "prompt": "Same?"} for number in range(3)]
    first = submit(store, tmp_path, lines, SubmitOptions(model, SAMPLED))
    run(store, first)
    more = [*lines, {"id": "a-3", "prompt": "Same?"}]
    second = submit(store, tmp_path, more, SubmitOptions(model, SAMPLED, reuse=True))
    assert second.reused == 3
    assert texts(store, second) == texts(store, first)


def test_failed_lines_are_run_again(store: JobStore, model: str, tmp_path: Path) -> None:
    run(store, submit(store, tmp_path, questions(3), SubmitOptions(model, GREEDY)), failing=frozenset({"q-1"}))
    again = submit(store, tmp_path, questions(3), SubmitOptions(model, GREEDY, reuse=True))
    assert again.reused == 2
    assert run(store, again) == ["q-1"]


def test_completions_come_from_several_jobs_and_from_unfinished_ones(
    store: JobStore, model: str, tmp_path: Path
) -> None:
    run(store, submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY)))
    unfinished = submit(store, tmp_path, questions(40)[20:], SubmitOptions(model, GREEDY, lines_per_shard=5))
    found = store.work.lease_next(model, "worker", 60)
    assert isinstance(found, Leased)
    pending = store.work.pending(found.lease)
    store.work.write(found.lease, [_answer(prompt, unfinished.id, False) for prompt in pending])
    assert submit(store, tmp_path, questions(40), SubmitOptions(model, GREEDY, reuse=True)).reused == 7


@pytest.mark.parametrize(("earlier", "now"), [("int8", "none"), ("none", "int8")])
def test_completions_of_other_weights_than_the_workers_have_run_again(
    store: JobStore, model: str, tmp_path: Path, earlier: str, now: str
) -> None:
    run(store, submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY)), quantize=earlier)
    reusing = SubmitOptions(model, GREEDY, reuse=True)
    with live_worker(store, f"another than {model}", earlier), live_worker(store, model, now):
        again = submission(store, tmp_path, questions(3), reusing)
        assert (again.job.reused, again.reuse) == (0, ReuseCounts(passed_over=2))
        assert run(store, again.job, quantize=now) == ["q-0", "q-1", "q-2"]
        third = submission(store, tmp_path, questions(3), reusing)
        assert (third.job.reused, third.reuse) == (3, ReuseCounts())
    assert texts(store, third.job) == texts(store, again.job)


def test_an_older_completion_of_the_workers_weights_is_taken_before_a_newer_one_of_others(
    store: JobStore, model: str, tmp_path: Path
) -> None:
    first = submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY))
    run(store, first)
    run(store, submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY)), quantize="int8")
    with live_worker(store, model, "none"):
        again = submission(store, tmp_path, questions(2), SubmitOptions(model, GREEDY, reuse=True))
    assert (again.job.reused, again.reuse) == (2, ReuseCounts())
    assert texts(store, again.job) == texts(store, first)


def test_without_a_worker_completions_of_all_weights_are_reused_and_counted(
    store: JobStore, model: str, tmp_path: Path
) -> None:
    run(store, submit(store, tmp_path, questions(2), SubmitOptions(model, GREEDY)), quantize="int8")
    run(store, submit(store, tmp_path, questions(5)[2:], SubmitOptions(model, GREEDY)))
    again = submission(store, tmp_path, questions(5), SubmitOptions(model, GREEDY, reuse=True))
    assert (again.job.reused, again.reuse) == (5, ReuseCounts(quantized=2))
    assert store.jobs.stats(again.job.id).quantized_lines == 2
