"""A damaged record of the store costs what it holds, and nobody else anything."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from msgspec import structs

from jobs import keys
from jobs.exit_codes import ExitCode
from jobs.keys import JobKeys
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import report, run_job
from tests.cli.conftest import Cli

BAD_WORKER = keys.worker("x")
HOST = socket.gethostname()


@pytest.fixture
def client(valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    with valkey.client() as client:
        yield client


def damage_a_report(client: redis.Redis, value: str = "{bad") -> None:
    client.set(BAD_WORKER, value, px=60_000)
    client.zadd(keys.WORKERS, {"x": 1.0})


def assert_named_once(done: subprocess.CompletedProcess[str], record: str) -> None:
    assert "Traceback" not in done.stderr
    assert done.stderr.count(record) == 1
    assert done.stderr.startswith("Warning: ") or "\nWarning: " in done.stderr


@pytest.mark.parametrize("value", ["{bad", '{"worker_id": "x"}', "\udcff\udcfe"])
def test_workers_shows_the_others_when_one_report_is_damaged(
    cli: Cli, store: JobStore, client: redis.Redis, value: str
) -> None:
    store.fleet.report_worker(report(), ttl_seconds=60)
    client.set(BAD_WORKER, value.encode(errors="surrogateescape"), px=60_000)
    client.zadd(keys.WORKERS, {b"x": 1.0, b"\xff": 2.0})
    done = cli("workers", "--json")
    assert done.returncode == 0
    assert [row["worker_id"] for row in json.loads(done.stdout)] == ["host:42:abc"]
    assert_named_once(done, BAD_WORKER)
    assert_named_once(cli("workers", "-q"), BAD_WORKER)


def test_a_report_of_another_type_is_skipped(cli: Cli, store: JobStore, client: redis.Redis) -> None:
    store.fleet.report_worker(report(), ttl_seconds=60)
    client.hset(BAD_WORKER, "a", "b")
    client.zadd(keys.WORKERS, {"x": 1.0})
    done = cli("workers", "--json")
    assert [row["worker_id"] for row in json.loads(done.stdout)] == ["host:42:abc"]
    assert_named_once(done, BAD_WORKER)


def test_health_is_that_of_the_worker_that_is_asked_for(cli: Cli, store: JobStore, client: redis.Redis) -> None:
    damage_a_report(client)
    assert cli("worker", "--health").returncode == ExitCode.FAILED
    store.fleet.report_worker(structs.replace(report(), host=HOST), ttl_seconds=60)
    done = cli("worker", "--health")
    assert (done.returncode, done.stdout) == (0, "host:42:abc idle\n")
    assert_named_once(done, BAD_WORKER)


def test_watch_and_status_of_a_good_job_get_past_a_damaged_report(
    cli: Cli, store: JobStore, client: redis.Redis, prompts: Path
) -> None:
    damage_a_report(client)
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    for command in ("watch", "status"):
        done = cli(command, job_id)
        assert done.returncode == 0
        assert_named_once(done, BAD_WORKER)


def _bad_spec(client: redis.Redis, meta: str) -> None:
    client.hset(meta, "spec", b"{bad")


def _no_spec(client: redis.Redis, meta: str) -> None:
    client.hdel(meta, "spec")


def _bad_state(client: redis.Redis, meta: str) -> None:
    client.hset(meta, "state", "\udcff".encode(errors="surrogateescape"))


def _bad_number(client: redis.Redis, meta: str) -> None:
    client.hset(meta, "completed", "many")


def _shard_size_of_zero(client: redis.Redis, meta: str) -> None:
    spec = client.hget(meta, "spec")
    assert isinstance(spec, bytes)
    client.hset(meta, "spec", json.dumps(json.loads(spec) | {"shard_size": 0}))


def _another_type(client: redis.Redis, meta: str) -> None:
    client.delete(meta)
    client.rpush(meta, "x")


DAMAGES = [_bad_spec, _no_spec, _bad_state, _bad_number, _shard_size_of_zero, _another_type]


@pytest.mark.parametrize("damage", DAMAGES)
def test_list_shows_the_other_jobs_and_a_command_on_the_damaged_one_ends_in_a_line(
    cli: Cli, client: redis.Redis, prompts: Path, damage: Callable[[redis.Redis, str], None]
) -> None:
    bad, good = (cli("submit", prompts, "--new").stdout.strip() for _ in range(2))
    meta = JobKeys(bad).meta
    damage(client, meta)
    done = cli("list", "--json")
    assert [row["id"] for row in json.loads(done.stdout)] == [good]
    assert_named_once(done, meta)
    refused = cli("status", bad)
    assert (refused.returncode, refused.stdout) == (ExitCode.STORE_DAMAGED, "")
    assert refused.stderr.startswith(f"Error: The store's record {meta} cannot be read: ")
    assert "Traceback" not in refused.stderr and "Warning" not in refused.stderr
    assert client.exists(meta)


@pytest.mark.parametrize("command", ["status", "watch", "results", "cancel", "pause", "resume", "retry"])
def test_no_command_on_a_damaged_job_is_a_traceback(cli: Cli, client: redis.Redis, prompts: Path, command: str) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    client.hset(JobKeys(job_id).meta, "spec", b"{bad")
    done = cli(command, job_id)
    assert done.returncode == ExitCode.STORE_DAMAGED
    assert "Traceback" not in done.stderr
    assert f"qwen-batch delete {job_id}" in done.stderr


def test_a_damaged_job_can_be_ended_and_deleted_with_all_of_its_keys(
    cli: Cli, client: redis.Redis, prompts: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    client.hset(JobKeys(job_id).meta, "spec", b"{bad")
    cli("cancel", job_id)
    done = cli("delete", job_id)
    assert done.returncode == 0, done.stderr
    assert [key for key in client.scan_iter() if f"{{{job_id}}}".encode() in key] == []
    assert cli("list").stdout == ""


def test_a_damaged_job_keeps_nobody_from_submitting_its_file_again(
    cli: Cli, store: JobStore, client: redis.Redis, prompts: Path
) -> None:
    bad = cli("submit", prompts).stdout.strip()
    client.hset(JobKeys(bad).meta, "spec", b"{bad")
    done = cli("submit", prompts)
    assert done.returncode == 0, done.stderr
    assert store.jobs.get(done.stdout.strip()).state == "queued"
    assert_named_once(done, JobKeys(bad).meta)


def test_damaged_lines_of_an_earlier_job_are_run_again_by_reuse(
    cli: Cli, store: JobStore, client: redis.Redis, prompts: Path
) -> None:
    first = cli("submit", prompts).stdout.strip()
    run_job(store, first)
    client.set(JobKeys(first).results(1), b"nothing that was ever compressed")
    done = cli("submit", prompts, "--reuse", "--new")
    assert done.returncode == 0, done.stderr
    assert store.jobs.get(done.stdout.strip()).reused == 16
    assert_named_once(done, JobKeys(first).results(1))


def test_a_damaged_model_card_is_as_good_as_none(cli: Cli, client: redis.Redis, prompts: Path) -> None:
    client.hset(keys.MODELS, "some-model", b"{bad")
    done = cli("submit", prompts, "--model", "some-model")
    assert done.returncode == 0, done.stderr
    assert_named_once(done, keys.MODELS)


def test_many_damaged_records_are_a_few_lines_and_a_count(cli: Cli, client: redis.Redis) -> None:
    for number in range(30):
        client.set(keys.worker(f"x{number}"), "{bad", px=60_000)
        client.zadd(keys.WORKERS, {f"x{number}": 1.0})
    done = cli("workers")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) < 10
    assert "and 25 more damaged records" in done.stderr
