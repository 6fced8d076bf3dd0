"""Results that the store has lost are missed by every command that writes them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.exit_codes import ExitCode
from jobs.keys import JobKeys
from jobs.records.job import JobState
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli, Start
from tests.cli.running import PATIENCE_SECONDS, embedded, ids_of, run_of, until


@pytest.fixture
def client(valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    with valkey.client() as client:
        yield client


@pytest.fixture
def job_id(cli: Cli, store: JobStore, client: redis.Redis, prompts: Path) -> str:
    """A completed job of twenty lines, of which the store has lost the last four."""
    name = cli("submit", prompts).stdout.strip()
    run_job(store, name)
    client.delete(JobKeys(name).results(1))
    return name


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_a_missing_shard_is_named_and_results_exits_nonzero(cli: Cli, job_id: str) -> None:
    done = cli("results", job_id)
    assert done.returncode == ExitCode.STORE_DAMAGED.value == 6
    assert done.stderr.startswith(f"Error: The store lacks 4 of 20 results of job {job_id}: lines 17 to 20.\n")
    assert f"qwen-batch retry {job_id}" in done.stderr and "--partial" in done.stderr
    assert ids(done.stdout) == [f"q-{number}" for number in range(16)]


def test_a_file_that_would_lack_lines_does_not_appear_and_replaces_none(cli: Cli, job_id: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert cli("results", job_id, "-o", tmp_path / "out.jsonl").returncode == ExitCode.STORE_DAMAGED
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "out.jsonl").write_text("from yesterday\n")
    assert cli("results", job_id, "-o", tmp_path / "out.jsonl").returncode == ExitCode.STORE_DAMAGED
    assert (tmp_path / "out.jsonl").read_text() == "from yesterday\n"


def test_partial_writes_what_there_is_and_says_what_is_not(cli: Cli, job_id: str, tmp_path: Path) -> None:
    done = cli("results", job_id, "--partial", "-o", tmp_path / "out.jsonl", "-q")
    assert done.returncode == 0
    assert done.stderr == "Warning: The store lacks 4 results of the job: lines 17 to 20.\n"
    assert ids((tmp_path / "out.jsonl").read_text()) == [f"q-{number}" for number in range(16)]


def test_results_that_are_damaged_are_named_as_such(cli: Cli, job_id: str, client: redis.Redis) -> None:
    key = JobKeys(job_id).results(1)
    client.set(key, b"(\xb5/\xfd, and no more")
    done = cli("results", job_id)
    assert done.returncode == ExitCode.STORE_DAMAGED
    assert "lacks 4 of 20 results" in done.stderr
    assert done.stderr.count(key) == 1
    assert "Traceback" not in done.stderr


def test_retry_makes_them_again(cli: Cli, store: JobStore, job_id: str) -> None:
    assert cli("retry", job_id).returncode == 0
    assert (store.jobs.get(job_id).state, store.jobs.get(job_id).completed) == ("queued", 16)
    run_job(store, job_id, first=1)
    done = cli("results", job_id)
    assert (done.returncode, ids(done.stdout)) == (0, [f"q-{number}" for number in range(20)])


def test_retry_says_so_when_there_is_nothing_to_make_them_from(cli: Cli, job_id: str, client: redis.Redis) -> None:
    client.delete(JobKeys(job_id).input(1))
    done = cli("retry", job_id)
    assert done.returncode == ExitCode.STORE_DAMAGED
    assert f"Job {job_id} lacks results of a shard, and the input of these lines is lost or damaged" in done.stderr
    assert "--reuse" in done.stderr


def test_submit_wait_misses_them_too(
    store: JobStore, client: redis.Redis, valkey: ValkeyProcess, start: Start, prompts: Path
) -> None:
    process = start("submit", prompts, "--wait", "-o", "out.jsonl", env={"QWEN_BATCH_REDIS_URL": valkey.url})
    name = process.stdout.readline().strip()
    run_job(store, name, shards=1)
    client.delete(JobKeys(name).results(0))
    run_job(store, name, first=1)
    assert process.wait(timeout=60) == ExitCode.STORE_DAMAGED
    assert "lacks 16 of 20 results" in process.stderr.read()
    assert not (prompts.parent / "out.jsonl").exists()


@pytest.mark.timeout(400)
def test_run_counts_before_it_removes_its_state_and_runs_missing_lines_when_repeated(
    start: Start, tiny_model: Path, tmp_path: Path
) -> None:
    words = run_of(tmp_path, tiny_model, num_lines=64, max_tokens=8)
    first = start(*words)
    with embedded(tmp_path) as (server, store), redis.Redis.from_url(server.url) as private:
        (job,) = store.jobs.newest()
        until(lambda: store.jobs.get(job.id).state is not JobState.VALIDATING)
        first.send_signal(signal.SIGSTOP)  # so that it finds the job ended and a shard gone
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while not store.jobs.get(job.id).state.ended:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # the worker tells nobody
        private.delete(JobKeys(job.id).results(0))
        first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == ExitCode.STORE_DAMAGED, said
    assert f"The store lacks 16 of 64 results of job {job.id}: lines 1 to 16." in said
    assert "Run the same command to run these lines again." in said
    assert not (tmp_path / "out.jsonl").exists()
    second = start(*words)
    _, said = second.communicate(timeout=3 * PATIENCE_SECONDS)
    assert second.returncode == 0, said
    assert "48 of 64 lines are finished" in said
    assert ids_of(tmp_path / "out.jsonl") == [f"q-{number}" for number in range(64)]
