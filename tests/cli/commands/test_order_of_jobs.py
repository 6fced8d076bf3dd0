"""Who comes first, who waits and who ends when: the options of `submit`, `pause` and `resume`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from jobs.queue.hints import queue_name
from jobs.records.job import JobState
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli


def test_priority_and_deadline_reach_the_store(cli: Cli, store: JobStore, prompts: Path) -> None:
    before = time.time()
    done = cli("submit", prompts, "--priority", "5", "--deadline", "1h30m")
    job = store.jobs.get(done.stdout.strip())
    assert (job.spec.priority, job.spec.deadline_seconds) == (5, 5400)
    assert job.deadline_at is not None
    assert before + 5399 < job.deadline_at < time.time() + 5401
    shown = json.loads(cli("status", job.id, "--json").stdout)
    assert (shown["priority"], shown["deadline_at"], shown["paused"]) == (5, job.deadline_at, False)


def test_a_bad_deadline_or_priority_is_refused_with_what_is_allowed(cli: Cli, prompts: Path) -> None:
    deadline = cli("submit", prompts, "--deadline", "soon")
    assert (deadline.returncode, deadline.stdout) == (2, "")
    assert "'soon'" in deadline.stderr and "1h30m" in deadline.stderr
    priority = cli("submit", prompts, "--priority", "101")
    assert priority.returncode == 2
    assert "must be from -100 to 100" in priority.stderr


def test_a_job_is_paused_and_goes_on(cli: Cli, store: JobStore, prompts: Path, valkey: ValkeyProcess) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    paused = cli("pause", job_id)
    assert paused.returncode == 0
    assert f"qwen-batch resume {job_id}" in paused.stderr
    assert "paused" in cli("status", job_id).stdout
    assert " paused " in cli("list").stdout
    assert json.loads(cli("list", "--json").stdout)[0]["paused"] is True
    with valkey.client() as client:
        client.delete(queue_name("demo"))
        assert cli("resume", job_id).returncode == 0
        assert client.llen(queue_name("demo")) == 2
    run_job(store, job_id)
    assert store.jobs.get(job_id).state is JobState.COMPLETED
    assert cli("pause", job_id).returncode == 2
    assert cli("resume", job_id).returncode == 2
    assert cli("pause", "no-such-job").returncode == 3
