"""`run`, with its own server and real workers on a tiny random model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.options.worker_options import require_worker_packages
from cli.run.server_state import answers
from jobs.errors import InvalidInput
from jobs.records.worker_report import WorkerReport
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli, Start
from tests.cli.running import PATIENCE_SECONDS, embedded, ids_of, run_of, until


@pytest.fixture
def long_job(tmp_path: Path, tiny_model: Path) -> list[str | Path]:
    """The words of a `run` of four shards that takes some seconds."""
    return run_of(tmp_path, tiny_model, num_lines=64, max_tokens=320)


@pytest.fixture
def endless_job(tmp_path: Path, tiny_model: Path) -> list[str | Path]:
    """The words of a `run` that a test interrupts long before its end."""
    return run_of(tmp_path, tiny_model, num_lines=5_000, max_tokens=400)


def the_worker(store: JobStore) -> WorkerReport:
    """The only one. On a crowded machine a live worker's reports may be late, and it is missing for a moment."""
    found: list[WorkerReport] = []

    def is_listed() -> bool:
        found[:] = store.fleet.workers()
        return bool(found)

    until(is_listed)
    (worker,) = found
    return worker


def test_run_answers_a_file_and_leaves_nothing_behind(
    bare_cli: Cli, prompts: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["--model", tiny_model, "--no-compile", "--threads", "1", "--max-tokens", "8"]
    done = bare_cli("run", prompts, "-o", "out.jsonl", *words)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert ids_of(tmp_path / "out.jsonl") == [f"q-{number}" for number in range(20)]
    figures = ["output tokens/s", "in the queue", "load", "compile", "first token"]
    assert [word for word in figures if word not in done.stderr] == []
    assert list((tmp_path / "home" / "state" / "qwen-batch" / "runs").iterdir()) == []


def test_a_killed_run_leaves_no_process_and_goes_on_when_repeated(
    start: Start, long_job: list[str | Path], tmp_path: Path
) -> None:
    first = start(*long_job)
    with embedded(tmp_path) as (server, store):
        (job,) = store.jobs.newest()
        until(lambda: store.jobs.get(job.id).done > 0)
        worker = the_worker(store)
        first.kill()
        first.wait()
        until(lambda: not answers(server) and not is_alive(worker.pid))
    assert not (tmp_path / "out.jsonl").exists()
    second = start(*long_job)
    _, said = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, said
    assert "Continuing the interrupted run" in said
    assert job.id in said
    assert ids_of(tmp_path / "out.jsonl") == [f"q-{number}" for number in range(64)]


def is_alive(pid: int) -> bool:
    """Whether it runs: a process that nobody has collected yet does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("",) and not done.stdout.startswith("Z")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_in_order_and_a_second_one_meanwhile_is_refused(
    start: Start, bare_cli: Cli, endless_job: list[str | Path], tmp_path: Path, number: signal.Signals
) -> None:
    first = start(*endless_job)
    with embedded(tmp_path) as (server, store):
        refused = bare_cli(*endless_job)
        assert refused.returncode == 2
        assert f"process {first.pid}" in refused.stderr
        assert "--state-dir" in refused.stderr
        (job,) = store.jobs.newest()
        until(lambda: store.jobs.get(job.id).done > 0)  # the whole file is submitted
        worker = the_worker(store)
        first.send_signal(number)
        _, said = first.communicate(timeout=PATIENCE_SECONDS)
        assert first.returncode == 130
        assert "Run the same command to continue" in said
        assert not answers(server)
        assert not is_alive(worker.pid)


def test_run_on_a_named_server_uses_it_and_keeps_the_job_there(
    cli: Cli, store: JobStore, valkey: ValkeyProcess, prompts: Path, tiny_model: Path
) -> None:
    words = ["--model", tiny_model, "--no-compile", "--threads", "1", "--max-tokens", "4", "--workers", "2"]
    done = cli("run", prompts, *words)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [f"q-{number}" for number in range(20)]
    (job,) = store.jobs.newest()
    assert (job.state, job.completed) == ("completed", 20)
    assert cli("results", job.id).stdout == done.stdout


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again(start: Start, long_job: list[str | Path], tmp_path: Path) -> None:
    process = start(*long_job)
    with embedded(tmp_path) as (_, store):
        (job,) = store.jobs.newest()
        until(lambda: store.jobs.get(job.id).done > 0)
        worker = the_worker(store)
        os.kill(worker.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert ids_of(tmp_path / "out.jsonl") == [f"q-{number}" for number in range(64)]


@pytest.mark.slow
def test_a_cache_that_is_too_small_for_the_batch_is_named_while_run_works(
    start: Start, endless_job: list[str | Path]
) -> None:
    process = start(*endless_job, "--kv-cache-memory", "1MiB")
    said = next(line for line in process.stderr if "cache" in line)
    assert re.fullmatch(
        r"The KV cache has room for \d+ of \d+ sequences\. "
        r"More run together with `--kv-cache-memory \d+MiB` on the worker\.\n",
        said,
    )


def test_an_installation_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match="torch") as error:
        require_worker_packages()
    assert "qwen-batch[worker]" in error.value.hint
