"""`qwen-batch extend` through the real command line; the test plays the worker."""

from __future__ import annotations

import json
from pathlib import Path

from jobs.queue.hints import queue_name
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli


def test_lines_are_added_to_a_completed_job_and_only_they_are_run(
    cli: Cli, store: JobStore, prompts: Path, tmp_path: Path, valkey: ValkeyProcess
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "x", "prompt": "And x?"}\n\n{"prompt": "And y?"}\n')
    with valkey.client() as client:
        client.delete(queue_name("demo"))
        done = cli("extend", job_id, more)
        assert client.llen(queue_name("demo")) == 1
    assert (done.returncode, done.stdout) == (0, "")
    assert "Added 2 lines. The job now has 22 lines." in done.stderr
    job = store.jobs.get(job_id)
    assert (job.state, job.completed, job.spec.num_lines) == ("queued", 20, 22)
    (shard,) = store.recovery.recoverable_shards("demo", 10)
    assert [prompt.id for prompt, _ in store.jobs.lines(shard)] == ["x", "3"]


def test_lines_that_do_not_fit_the_job_are_refused_and_none_is_added(
    cli: Cli, store: JobStore, prompts: Path, tmp_path: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    taken, openai = tmp_path / "taken.jsonl", tmp_path / "openai.jsonl"
    taken.write_text('{"id": "new", "prompt": "a"}\n{"id": "q-3", "prompt": "b"}\n')
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    openai.write_text(json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}))
    refused = cli("extend", job_id, taken)
    assert refused.returncode == 2
    assert "line 2" in refused.stderr and "already in the job" in refused.stderr
    other_format = cli("extend", job_id, openai)
    assert other_format.returncode == 2
    assert "openai format" in other_format.stderr
    assert cli("extend", "no-such-job", taken).returncode == 3
    assert store.jobs.get(job_id).spec.num_lines == 20
