"""From `submit` to `results` through the real command line; the test plays the worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.queue.hints import queue_name
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import report, run_job
from tests.cli.conftest import Cli, Start


def test_submit_prints_the_job_id_and_nothing_else(cli: Cli, store: JobStore, prompts: Path) -> None:
    done = cli("submit", prompts)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    job = store.jobs.get(line)
    assert (job.spec.num_lines, job.spec.source, job.state) == (20, str(prompts), "queued")


def test_submit_says_in_one_line_that_it_uses_the_demo_model(cli: Cli, prompts: Path) -> None:
    assert "demo model" in cli("submit", prompts).stderr
    assert cli("submit", prompts, "-q").stderr == ""
    assert "demo" not in cli("submit", prompts, "--model", "Qwen/Qwen3-0.6B").stderr


def test_submit_says_if_the_job_waits_for_a_worker_of_its_model(cli: Cli, store: JobStore, prompts: Path) -> None:
    alone = cli("submit", prompts).stderr
    assert "No live worker serves demo. Start one: qwen-batch worker --model demo\n" in alone
    store.fleet.report_worker(report(model="Qwen/Qwen3-4B"), ttl_seconds=60)
    other = cli("submit", prompts, "--new").stderr
    assert "No live worker serves demo. Workers serve Qwen/Qwen3-4B. Start one: " in other
    assert "No live worker" not in cli("submit", prompts, "--model", "Qwen/Qwen3-4B").stderr


def test_submit_reads_standard_input(cli: Cli, store: JobStore) -> None:
    done = cli("submit", "-", stdin='{"prompt": "Hello"}\n')
    assert store.jobs.get(done.stdout.strip()).spec.num_lines == 1


def test_submit_sends_one_message_a_shard_to_the_models_queue(cli: Cli, prompts: Path, valkey: ValkeyProcess) -> None:
    cli("submit", prompts, "--model", "Qwen/Qwen3-0.6B")
    with valkey.client() as client:
        assert client.llen(queue_name("Qwen/Qwen3-0.6B")) == 2


def test_sampling_options_become_the_jobs_defaults(cli: Cli, store: JobStore, prompts: Path) -> None:
    words = ["--max-tokens", "7", "--temperature", "0.5", "--stop", "a", "--stop", "b", "--ignore-eos", "--seed", "3"]
    words += ["--top-k", "0"]  # 0 is said, too: it keeps all tokens
    spec = store.jobs.get(cli("submit", prompts, *words).stdout.strip()).spec
    said = spec.defaults
    assert (said.max_tokens, said.temperature, said.stop, said.ignore_eos) == (7, 0.5, ("a", "b"), True)
    assert (spec.seed, said.seed, said.top_p, said.top_k) == (3, None, None, 0)


def test_results_come_in_input_order_as_the_input_format_says(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    done = cli("results", job_id)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line["id"] for line in lines] == [f"q-{number}" for number in range(20)]
    assert lines[0] == {
        "id": "q-0",
        "completion": "answer to q-0",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 4, "completion_tokens": 1},
        "error": None,
    }


def test_results_of_a_running_job_need_partial(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, shards=1)
    refused = cli("results", job_id)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "16 of 20 lines" in refused.stderr
    assert "--partial" in refused.stderr
    partial = cli("results", job_id, "--partial")
    assert partial.returncode == 0
    assert [json.loads(line)["id"] for line in partial.stdout.splitlines()] == [f"q-{n}" for n in range(16)]


def test_results_go_to_a_file_and_failed_lines_to_another(
    cli: Cli, store: JobStore, prompts: Path, tmp_path: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, fail=frozenset({"q-3"}))
    done = cli("results", job_id, "-o", tmp_path / "out.jsonl", "--errors", tmp_path / "bad.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 20
    (failed,) = (tmp_path / "bad.jsonl").read_text().splitlines()
    assert json.loads(failed)["error"] == {"code": "prompt_too_long", "message": "too long"}


@pytest.mark.parametrize("path", ["missing-folder/out.jsonl", ".", "/proc/out.jsonl"])
def test_an_output_path_that_cannot_be_written_is_refused_before_anything_is_stored(
    cli: Cli, prompts: Path, valkey: ValkeyProcess, path: str
) -> None:
    done = cli("submit", prompts, "--wait", "-o", path)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


def test_a_reader_that_has_enough_ends_results_quietly(
    cli: Cli, store: JobStore, valkey: ValkeyProcess, start: Start, tmp_path: Path
) -> None:
    many = tmp_path / "many.jsonl"
    many.write_text('{"prompt": "Hello"}\n' * 5000)  # more than a pipe holds
    job_id = cli("submit", many).stdout.strip()
    run_job(store, job_id)
    process = start("results", job_id, "-q", env={"QWEN_BATCH_REDIS_URL": valkey.url})
    assert json.loads(process.stdout.readline())["id"] == "1"
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert process.stderr.read() == ""


def test_a_full_disk_under_standard_output_is_an_error_and_not_a_bug(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    done = cli("results", job_id, "-o", "/dev/full")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_file_is_one_job_and_submit_says_so(cli: Cli, store: JobStore, prompts: Path, tmp_path: Path) -> None:
    first = cli("submit", prompts)
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_bytes(prompts.read_bytes())
    again = cli("submit", renamed, "-v")
    assert again.stdout == first.stdout
    assert "already has a job" in again.stderr and "--new" in again.stderr
    job_id = first.stdout.strip()
    run_job(store, job_id, fail=frozenset({"q-3"}))
    done = cli("submit", prompts)
    assert done.stdout == first.stdout
    assert "20 of 20 lines are finished, 1 of them failed" in done.stderr
    assert f"qwen-batch retry {job_id}" in done.stderr


def test_new_another_model_other_options_and_a_cancelled_job_make_another_job(cli: Cli, prompts: Path) -> None:
    ids = [
        cli("submit", prompts, *words).stdout
        for words in (
            [],
            ["--new"],
            ["--model", "Qwen/Qwen3-0.6B"],
            ["--model", "Qwen/Qwen3-0.6B@main"],
            ["--seed", "1"],
        )
    ]
    assert len(set(ids)) == 5
    cli("cancel", ids[4].strip())
    assert cli("submit", prompts, "--seed", "1").stdout not in ids


def test_a_key_of_ones_own_decides_whatever_the_file_holds(cli: Cli, prompts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "Hello"}\n')
    first = cli("submit", prompts, "--idempotency-key", "nightly").stdout
    assert cli("submit", other, "--idempotency-key", "nightly").stdout == first
    assert cli("submit", other).stdout != first
    assert cli("submit", other, "--idempotency-key", "x" * 201).returncode == 2
    assert cli("submit", other, "--idempotency-key", "a", "--new").returncode == 2


def test_reuse_runs_only_new_lines_and_says_how_many(cli: Cli, store: JobStore, prompts: Path) -> None:
    first = cli("submit", prompts).stdout.strip()
    run_job(store, first)
    with prompts.open("a") as file:
        file.write('{"id": "new", "prompt": "And now?"}\n')
    done = cli("submit", prompts, "--reuse")
    assert "20 of 21 lines reuse completions of earlier jobs" in done.stderr
    job = store.jobs.get(done.stdout.strip())
    assert (job.completed, job.reused, job.state) == (20, 20, "queued")
    assert "20 of 21 completed (20 reused)" in cli("status", job.id).stdout


def test_reuse_names_completions_of_other_weights_than_the_workers_have(
    cli: Cli, store: JobStore, prompts: Path
) -> None:
    first = cli("submit", prompts).stdout.strip()
    run_job(store, first, shards=1, quantize="int8")
    done = cli("submit", prompts, "--reuse", "--new")
    assert "16 of the reused completions come from quantised weights." in " ".join(done.stderr.split())
    store.fleet.report_worker(report(), 600)
    done = cli("submit", prompts, "--reuse", "--new")
    assert "0 of 20 lines reuse completions of earlier jobs" in done.stderr
    assert "16 more lines have completions by other weights (8-bit or not)" in " ".join(done.stderr.split())


def test_no_two_results_of_a_file_with_bad_lines_have_one_id(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text('oops\n{"id": "1", "prompt": "Hello"}\n{"id": "1", "prompt": "Hello"}\n{"id": [7]}\n')
    job_id = cli("submit", path, "--skip-invalid").stdout.strip()
    cli("cancel", job_id)
    results = [json.loads(line) for line in cli("results", job_id).stdout.splitlines()]
    assert [(line["id"], line.get("line")) for line in results] == [(None, 1), ("1", None), (None, 3), (None, 4)]
