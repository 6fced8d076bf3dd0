"""What the reading commands show: JSON for scripts, tables of 80 columns for people."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import ShardRef
from jobs.records.shard_stats import ShardStats
from jobs.stats.stats import JobStats
from jobs.stores.protocol import JobStore
from tests.cli.acting_worker import WORKER, report, run_job
from tests.cli.conftest import Cli


def assert_fits_80_columns(text: str) -> None:
    assert text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_status_json_has_every_field_of_the_statistics(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    fields = json.loads(cli("status", job_id, "--json").stdout)
    assert list(fields) == list(JobStats.__struct_fields__)
    assert (fields["id"], fields["completed"], fields["total_output_tokens"]) == (job_id, 20, 20)


def test_status_says_that_the_cache_was_too_small_for_the_batch(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, shards=1)
    assert "Cache" not in cli("status", job_id).stdout
    lease = store.work.lease(ShardRef(job_id, 1), WORKER, ttl_seconds=60)
    assert lease is not None
    too_long = ErrorCode.PROMPT_TOO_LONG
    store.work.write(
        lease, [Completion.failed(line.index, line.id, too_long, "too long") for line in store.work.pending(lease)]
    )
    store.work.finish_shard(
        lease,
        ShardStats(
            *(WORKER, "cpu", "bfloat16", "none", True, 1.0, 1.0),
            decode_steps=30,
            cache_short_steps=20,
            cache_short_running_sum=100,
            cache_short_waiting_sum=1180,
            kv_cache_bytes_wanted=5 * 2**29,
            cached_tokens=1_234,
            drafted_tokens=200,
            accepted_tokens=50,
        ),
    )
    shown = " ".join(cli("status", job_id).stdout.split())
    assert (
        "Cache The KV cache has room for 5 of 64 sequences. More run together with `--kv-cache-memory 3GiB` on the "
        "worker. It was short in 50% of the steps."
    ) in shown
    assert "in (1,234 from the prefix cache), " in shown
    assert "Guesses 25% of the guessed tokens were right" in shown


def test_status_says_that_only_some_completions_come_from_8_bit_weights(
    cli: Cli, store: JobStore, prompts: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, shards=1, quantize="int8")
    assert "Mixture" not in cli("status", job_id).stdout
    run_job(store, job_id, first=1)
    shown = cli("status", job_id).stdout
    assert "Mixture 16 completions come from 8-bit weights, the others do not" in " ".join(shown.split())
    assert json.loads(cli("status", job_id, "--json").stdout)["quantized_lines"] == 16
    assert_fits_80_columns(shown)


def test_status_says_that_the_workers_had_different_kernels(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, shards=1)
    lease = store.work.lease(ShardRef(job_id, 1), "other:1:a", ttl_seconds=60)
    assert lease is not None
    failed = [
        Completion.failed(line.index, line.id, ErrorCode.INTERNAL_ERROR, "no") for line in store.work.pending(lease)
    ]
    store.work.write(lease, failed)
    store.work.finish_shard(lease, ShardStats("other:1:a", "cpu (avx2)", "bfloat16", "none", True, 1.0, 1.0))
    shown = " ".join(cli("status", job_id).stdout.split())
    assert "because the workers differ: cpu (avx2) bfloat16, cpu bfloat16" in shown


def test_status_shows_the_figures_to_people(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, fail=frozenset({"q-3"}))
    shown = cli("status", job_id).stdout
    assert_fits_80_columns(shown)
    words = ["19 of 20 completed, 1 failed", "76 in, 19 out", "output tokens/s", "load 1.50 s"]
    words += ["compile 2.50 s", "5.0 sequences", "25% full", "first token", "bfloat16", "1.0 GiB", "stop 19"]
    assert [word for word in words if word not in shown] == []


def test_a_pause_counts_in_no_rate(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, shards=1)
    begun = time.monotonic()
    while time.monotonic() < begun + 1:
        time.sleep(0.01)  # a pause is a time in which nothing happens
    run_job(store, job_id, shards=2, first=1)
    fields = json.loads(cli("status", job_id, "--json").stdout)
    assert fields["wall_seconds"] - fields["duration_seconds"] > 0.9
    assert fields["output_throughput"] == pytest.approx(20 / fields["duration_seconds"])


def test_list_shows_whole_ids_in_80_columns(cli: Cli, store: JobStore, prompts: Path) -> None:
    model = "Some-Organisation/Some-Rather-Long-Model-Name-0.6B"
    job_ids = [cli("submit", prompts, "--model", model, "--new").stdout.strip() for _ in range(2)]
    run_job(store, job_ids[0], fail=frozenset({"q-1"}))
    done = cli("list")
    assert_fits_80_columns(done.stdout)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == job_ids[::-1]
    rows = json.loads(cli("list", "--json").stdout)
    assert [(row["id"], row["state"], row["failed"]) for row in rows] == [
        (job_ids[1], "queued", 0),
        (job_ids[0], "completed", 1),
    ]
    assert len(json.loads(cli("list", "--json", "--limit", "1").stdout)) == 1


def test_an_empty_list_is_empty_on_stdout(cli: Cli) -> None:
    assert (cli("list").stdout, cli("list", "--json").stdout) == ("", "[]\n")
    assert (cli("workers").stdout, cli("workers", "--json").stdout) == ("", "[]\n")


def test_workers_shows_who_is_alive_on_what(cli: Cli, store: JobStore) -> None:
    store.fleet.report_worker(report(), ttl_seconds=60)
    store.fleet.report_worker(report("Qwen/Qwen3-0.6B", "host:43:def", jobs=("job-1",)), ttl_seconds=60)
    done = cli("workers")
    assert_fits_80_columns(done.stdout)
    assert all(
        word in done.stdout for word in ("host:42", "job-1", "demo", "busy", "123", "5+3", "50%", "42%", "1.0 GiB")
    )
    rows = json.loads(cli("workers", "--json").stdout)
    assert {row["worker_id"] for row in rows} == {"host:42:abc", "host:43:def"}


def test_workers_says_what_a_loading_worker_does(cli: Cli, store: JobStore) -> None:
    loading = msgspec.structs.replace(report(), state="loading", loading_step="reading the weights")
    store.fleet.report_worker(loading, ttl_seconds=60)
    assert cli("workers").stdout.splitlines()[-1] == "host:42 is reading the weights"


def test_workers_shows_a_worker_that_fell_silent_as_lost_after_the_living(cli: Cli, store: JobStore) -> None:
    store.fleet.report_worker(report(), ttl_seconds=0.001)
    store.fleet.report_worker(report(worker_id="host:43:def", jobs=("job-1",)), ttl_seconds=60)
    while len(store.fleet.workers()) > 1:
        pass  # the server's clock alone
    states = [row["state"] for row in json.loads(cli("workers", "--json").stdout)]
    assert states == ["busy", "lost"]


def test_watch_json_is_one_document_a_line_and_ends_with_the_end(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    done = cli("watch", job_id, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["id"], last["state"], last["completed"], last["seconds_left"]) == (job_id, "completed", 20, None)


def test_watch_without_a_terminal_writes_plain_lines_and_the_summary(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    done = cli("watch", job_id)
    assert done.stdout == ""
    assert done.stderr.startswith("completed: 20/20 lines\n")
    assert "output tokens/s" in done.stderr
    assert "\x1b" not in done.stderr
    assert cli("watch", job_id, "-q").stderr == ""


def test_escape_sequences_in_names_reach_no_terminal(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[31m\u202e.jsonl"
    path.write_text('{"prompt": "Hello"}\n')
    job_id = cli("submit", path, "--model", "evil\x1b]0;title\x07").stdout.strip()
    run_job(store, job_id)
    wide = {"COLUMNS": "300"}  # the evil parts are shown, not cut
    listed, unhealthy = cli("list", env=wide), cli("worker", "--health", "--served-model-name", "evil\x1b[2J", env=wide)
    assert r"evil\x1b]0;title\x07" in listed.stdout and r"evil\x1b[31m\u202e.jsonl" in listed.stdout
    assert r"serves evil\x1b[2J is alive" in unhealthy.stderr
    spoken = [listed, unhealthy, cli("status", job_id), cli("watch", job_id)]
    spoken += [cli("status", "no\x1b[2Jjob"), cli("submit", tmp_path / "no\x1b[2Jfile")]
    assert [done for done in spoken if any(char in done.stdout + done.stderr for char in "\x1b\x07\u202e")] == []
