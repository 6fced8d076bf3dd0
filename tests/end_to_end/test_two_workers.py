"""Two workers and one server, seen by a person in a third terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.execution.kernels import bfloat16_is_fast
from jobs.stores.connect import connect
from testing.processes.command_line import write_jsonl
from testing.processes.forked_commands import StartedCommand
from testing.processes.valkey import running_valkey
from tests.end_to_end.deployment import PATIENCE_SECONDS, Deployment
from tests.end_to_end.recomputed_statistics import FIELDS, WORKER_FIELDS, counts_of, latencies_of

NUM_LINES, NUM_LONG = 1_200, 16
CANCEL_SECONDS = 2.0
KINDS: tuple[dict[str, Any], ...] = (  # of sampling
    {"temperature": 0},
    {"temperature": 1, "top_k": 50},  # the seed follows from the job's and the line's place
    {"temperature": 0.8, "top_p": 0.95, "seed": 7},
    {"temperature": 1.5, "presence_penalty": 1, "repetition_penalty": 1.2},
)

FUNCTION = {
    "name": "note",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"about": {"type": "string", "maxLength": 20}},
        "required": ["about"],
    },
}
CONSTRAINTS: tuple[dict[str, Any], ...] = (
    {"guided_regex": "[0-9]{60}"},
    {"guided_json": {"type": "array", "items": {"type": "boolean"}, "minItems": 12, "maxItems": 12}},
    {"tools": [{"type": "function", "function": FUNCTION}]},
    {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
)


@pytest.fixture(scope="module", params=["valkey", pytest.param("redis-server", marks=pytest.mark.slow)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers on the server that comes with us, or on Debian's."""
    binary = request.getfixturevalue("redis_server_binary") if request.param == "redis-server" else None
    with running_valkey(tmp_path_factory.mktemp("server"), binary=binary) as server:
        deployment = Deployment(server, tmp_path_factory.mktemp("workers"))
        with deployment.workers(2):
            yield deployment


@dataclass(frozen=True)
class WatchedJob:
    """What the person saw."""

    id: str
    submitted_at: float  # seconds since the epoch, as the other moments
    stored_at: float
    ended_at: float
    completed_before: int  # lines, as `watch` said just before `results --partial`
    partial: list[Any]
    watch_code: int
    results: list[Any]
    figures: Any  # `status --json`


@pytest.fixture(scope="module")
def job(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> WatchedJob:
    """Submitted, watched from another terminal, and read halfway and at the end."""
    lines = [
        {"id": f"q-{number}", "prompt": f"What is {number % 100} + {number * 7 % 100}?", "max_tokens": 1 + number % 12}
        for number in range(NUM_LINES - NUM_LONG)
    ]
    # The last lines are so long that the job is not over when what was finished halfway is read.
    lines += [
        {"id": f"q-{number}", "prompt": "Count.", "max_tokens": 400, "ignore_eos": True}
        for number in range(NUM_LINES - NUM_LONG, NUM_LINES)
    ]
    prompts = write_jsonl(tmp_path_factory.mktemp("prompts") / "prompts.jsonl", lines)
    submitted_at = time.time()
    job_id = deployment.submit(prompts)
    stored_at = time.time()
    with deployment.terminal("watch", job_id, "--json") as watch:
        completed_before = read_until(watch, num_completed=100)
        partial = deployment.results(job_id, "--partial")
        read_until(watch, num_completed=NUM_LINES)
        watch_code = watch.wait(PATIENCE_SECONDS)
    ended_at = time.time()
    results, figures = deployment.results(job_id), deployment.json("status", job_id)
    return WatchedJob(
        job_id, submitted_at, stored_at, ended_at, completed_before, partial, watch_code, results, figures
    )


def read_until(watch: StartedCommand, num_completed: int) -> int:
    """How many lines are completed, as soon as `watch --json` says that they are so many."""
    for line in watch.stdout:
        if (completed := int(json.loads(line)["completed"])) >= num_completed:
            return completed
    raise AssertionError("the job ended with fewer lines")


def test_every_line_is_completed_once_in_input_order(job: WatchedJob) -> None:
    assert job.watch_code == 0
    assert [line["id"] for line in job.results] == [f"q-{number}" for number in range(NUM_LINES)]
    assert [line["id"] for line in job.results if line["error"] is not None] == []


def test_both_workers_did_work_and_their_tokens_are_the_jobs(job: WatchedJob) -> None:
    shares = job.figures["workers"]
    assert len({share["worker_id"] for share in shares}) == 2
    assert min(share["output_tokens"] for share in shares) > 0
    assert sum(share["output_tokens"] for share in shares) == job.figures["total_output_tokens"]


def test_results_halfway_are_the_finished_lines_in_input_order(job: WatchedJob) -> None:
    assert job.completed_before <= len(job.partial) < NUM_LINES
    finished = {line["id"] for line in job.partial}
    assert job.partial == [line for line in job.results if line["id"] in finished]


def test_status_has_every_field(job: WatchedJob) -> None:
    assert [field for field in FIELDS if field not in job.figures] == []
    assert [tuple(share) for share in job.figures["workers"]] == [WORKER_FIELDS] * 2


def test_status_counts_what_the_results_hold(job: WatchedJob) -> None:
    counts = counts_of(job.results)
    assert set(counts["finish_reasons"]) == {"stop", "length"}
    assert {name: job.figures[name] for name in counts} == counts
    assert (job.figures["state"], job.figures["retried_shards"], job.figures["error"]) == ("completed", 0, None)


def test_rates_are_amounts_over_the_duration(job: WatchedJob) -> None:
    figures, seconds = job.figures, job.figures["duration_seconds"]
    tokens_in, tokens_out = figures["total_input_tokens"], figures["total_output_tokens"]
    assert figures["output_throughput"] * seconds == pytest.approx(tokens_out)
    assert figures["total_token_throughput"] * seconds == pytest.approx(tokens_in + tokens_out)
    assert figures["request_throughput"] * seconds == pytest.approx(NUM_LINES)


def test_times_are_what_a_bystander_sees(job: WatchedJob) -> None:
    figures = job.figures
    assert job.submitted_at <= figures["created_at"] <= job.stored_at
    assert 0 <= figures["queue_seconds"] <= job.ended_at - job.submitted_at
    assert 0 < figures["queue_seconds"] + figures["wall_seconds"] <= job.ended_at - job.submitted_at
    assert 0 < figures["duration_seconds"] <= figures["wall_seconds"] + 1e-5  # the latter is a difference of two floats
    assert 0 < figures["mean_e2el_ms"] <= figures["duration_seconds"] * 1000
    busy_seconds = figures["prefill_seconds"] + figures["decode_seconds"]
    assert 0 < busy_seconds <= 2 * figures["duration_seconds"]
    assert min(figures["prefill_seconds"], figures["decode_seconds"]) > 0


def test_latencies_are_those_of_the_lines(job: WatchedJob, deployment: Deployment) -> None:
    for field, (value, error) in latencies_of(list(connect(deployment.server.url).jobs.results(job.id))).items():
        assert job.figures[field] == pytest.approx(value, rel=error), field


def test_what_explains_a_rate_stands_beside_it(job: WatchedJob, cpu_device: str) -> None:
    figures, shares = job.figures, job.figures["workers"]
    assert 1 < figures["mean_batch_size"] <= NUM_LINES
    assert 0 < figures["kv_cache_usage_peak"] <= 1
    dtype = "bfloat16" if bfloat16_is_fast("cpu") else "float32"
    kinds = [(share["device"], share["dtype"], share["compiled"]) for share in shares]
    assert kinds == [(cpu_device, dtype, False)] * 2
    assert min(share["peak_memory_bytes"] for share in shares) > 64 * 2**20  # the cache alone
    assert figures["load_seconds"] == max(share["load_seconds"] for share in shares) > 0
    assert figures["compile_seconds"] == max(share["compile_seconds"] for share in shares) == 0


def test_two_workers_give_the_ids_that_one_gives(deployment: Deployment, tmp_path: Path) -> None:
    lines = [
        {"id": f"s-{number}", "prompt": f"Write about {number}.", "ignore_eos": True, "return_token_ids": True}
        | {"max_tokens": 8 + number % 9, **KINDS[number % len(KINDS)]}
        for number in range(192)  # twelve shards: more than a worker takes at once
    ]
    prompts = write_jsonl(tmp_path / "prompts.jsonl", lines)
    with deployment.workers(1, "--served-model-name", "alone"):
        alone = deployment.submit(prompts, "--wait", "--model", "alone")
    together = deployment.submit(prompts, "--wait")
    assert [len(deployment.json("status", job_id)["workers"]) for job_id in (alone, together)] == [1, 2]
    of_one, of_two = deployment.results(alone), deployment.results(together)
    assert of_one == of_two
    assert len({tuple(line["token_ids"]) for line in of_one}) > 60


def results_after_a_kill(deployment: Deployment, prompts: Path, queue: str) -> list[Any]:
    """Results of a job whose first worker was killed, and whose second worker went on."""
    with deployment.workers(1, "--served-model-name", queue):
        with deployment.terminal("worker", "--served-model-name", queue):  # killed at the end of this block
            job_id = deployment.submit(prompts, "--model", queue)
            with deployment.terminal("watch", job_id, "--json") as watch:
                read_until(watch, num_completed=10)
        assert deployment("watch", job_id).returncode == 0
    return deployment.results(job_id)


@pytest.mark.slow
def test_a_worker_killed_while_its_lines_share_pages_changes_no_text(deployment: Deployment, tmp_path: Path) -> None:
    system = {"role": "system", "content": "Answer in one short sentence, and never mention the weather. " * 4}
    lines = [
        {"id": f"k-{n}", "messages": [system, {"role": "user", "content": f"Write about {n}."}]}
        | {"max_tokens": 60, "ignore_eos": True, **KINDS[n % len(KINDS)]}
        for n in range(96)
    ]
    prompts = write_jsonl(tmp_path / "prompts.jsonl", lines)
    undisturbed = deployment.submit(prompts, "--wait")
    assert deployment.json("status", undisturbed)["cached_tokens"] > 0
    assert results_after_a_kill(deployment, prompts, "killed") == deployment.results(undisturbed)


@pytest.mark.slow
def test_a_worker_killed_inside_constrained_lines_changes_no_text(deployment: Deployment, tmp_path: Path) -> None:
    lines = [
        {"id": f"c-{n}", "messages": [{"role": "user", "content": f"Write about {n}."}], "max_tokens": 80}
        | KINDS[n % len(KINDS)]
        | CONSTRAINTS[n // len(KINDS) % len(CONSTRAINTS)]
        for n in range(96)
    ]
    prompts = write_jsonl(tmp_path / "prompts.jsonl", lines)
    undisturbed = deployment.results(deployment.submit(prompts, "--wait"))
    assert {line["finish_reason"] for line in undisturbed} >= {"stop"}
    assert results_after_a_kill(deployment, prompts, "killed-constrained") == undisturbed


def test_a_cancelled_job_ends_at_once_and_keeps_its_finished_lines(deployment: Deployment, tmp_path: Path) -> None:
    short, long = {"max_tokens": 2}, {"max_tokens": 2_000, "ignore_eos": True}
    lines = [{"id": f"c-{n}", "prompt": "Count to ten.", **(short if n % 8 == 0 else long)} for n in range(400)]
    job_id = deployment.submit(write_jsonl(tmp_path / "prompts.jsonl", lines))
    with deployment.terminal("watch", job_id, "--json") as watch:
        read_until(watch, num_completed=10)
        before = deployment.results(job_id, "--partial")
        assert deployment("cancel", job_id).returncode == 0
        cancelled_at = time.time()
        assert watch.wait(PATIENCE_SECONDS) == 5
    (row,) = [row for row in deployment.json("list") if row["id"] == job_id]
    assert row["state"] == "cancelled"
    assert row["ended_at"] - cancelled_at < CANCEL_SECONDS
    after = deployment.results(job_id)
    assert [line["id"] for line in after] == [line["id"] for line in lines]
    finished = {line["id"] for line in before}
    assert len(finished) >= 10
    assert [line for line in after if line["id"] in finished] == before
    assert {line["error"]["code"] for line in after if line["error"] is not None} == {"cancelled"}
    assert (row["completed"], row["failed"]) == (counts_of(after)["completed"], counts_of(after)["failed"])
