"""The exit codes as documented, through the real command line."""

from __future__ import annotations

import json
import signal
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess, free_port
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli, Start

NEED_A_JOB = ["status", "watch", "results", "cancel", "retry", "delete"]


@pytest.fixture
def web_server() -> Iterator[int]:
    """A plain HTTP server's port."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(socketserver.ThreadingMixIn, HTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("command", NEED_A_JOB)
def test_a_job_that_does_not_exist_is_3(cli: Cli, valkey: ValkeyProcess, command: str) -> None:
    done = cli(command, "job-20990101-000000-none")
    assert (done.returncode, done.stdout) == (3, "")
    assert "job-20990101-000000-none" in done.stderr
    assert "qwen-batch list" in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("command", ["status", "watch", "list", "submit"])
def test_a_server_that_is_not_there_is_4(bare_cli: Cli, prompts: Path, command: str) -> None:
    words = [command, *{"list": [], "submit": [prompts]}.get(command, ["some-job"])]
    done = bare_cli(*words, "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_password_is_4_and_never_printed(bare_cli: Cli, valkey: ValkeyProcess, prompts: Path) -> None:
    done = bare_cli("submit", prompts, "--redis-url", f"redis://:sEcReT@127.0.0.1:{valkey.port}/0")
    assert done.returncode == 4
    assert "password" in done.stderr
    assert "sEcReT" not in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("command", ["list", "submit"])
def test_another_protocol_is_4(bare_cli: Cli, web_server: int, prompts: Path, command: str) -> None:
    words = [command, *([prompts] if command == "submit" else [])]
    done = bare_cli(*words, "--redis-url", f"redis://127.0.0.1:{web_server}/0")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_url_of_another_kind_is_2(bare_cli: Cli) -> None:
    done = bare_cli("list", "--redis-url", "http://localhost:80")
    assert done.returncode == 2
    assert "redis://" in done.stderr


def test_watch_tells_how_a_job_ended(cli: Cli, store: JobStore, prompts: Path) -> None:
    good, bad, cancelled = (cli("submit", prompts, "--new").stdout.strip() for _ in range(3))
    run_job(store, good)
    run_job(store, bad, fail=frozenset({"q-3"}))
    assert cli("cancel", cancelled).returncode == 0
    assert [cli("watch", job).returncode for job in (good, bad, cancelled)] == [0, 1, 5]
    assert [cli("status", job).returncode for job in (good, bad, cancelled)] == [0, 0, 0]


def test_submit_wait_ends_as_the_job_does(store: JobStore, valkey: ValkeyProcess, start: Start, prompts: Path) -> None:
    env = {"QWEN_BATCH_REDIS_URL": valkey.url}
    process = start("submit", prompts, "--wait", "-o", "out.jsonl", env=env)
    job_id = process.stdout.readline().strip()
    run_job(store, job_id, fail=frozenset({"q-0"}))
    assert process.wait(timeout=120) == 1
    assert process.stdout.read() == ""
    assert len((prompts.parent / "out.jsonl").read_text().splitlines()) == 20


def test_ctrl_c_while_watching_leaves_the_job_running(
    cli: Cli, store: JobStore, valkey: ValkeyProcess, start: Start, prompts: Path
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    process = start("watch", job_id, env={"QWEN_BATCH_REDIS_URL": valkey.url})
    assert "waiting for a worker that serves demo" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert f"qwen-batch watch {job_id}" in process.stderr.read()
    assert store.jobs.get(job_id).state == "queued"


def test_a_running_job_cannot_be_deleted_or_retried(cli: Cli, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    assert [cli(command, job_id).returncode for command in ("delete", "retry")] == [2, 2]
    assert json.loads(cli("status", job_id, "--json").stdout)["state"] == "queued"


def test_retry_runs_failed_lines_again(cli: Cli, store: JobStore, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id, fail=frozenset({"q-3"}))
    assert cli("retry", job_id).returncode == 0
    assert (store.jobs.get(job_id).state, store.jobs.get(job_id).completed) == ("queued", 19)
    run_job(store, job_id, shards=1)
    assert (cli("watch", job_id).returncode, store.jobs.get(job_id).completed) == (0, 20)
    assert "nothing to retry" in cli("retry", job_id).stderr


def test_delete_removes_everything_of_a_job(cli: Cli, store: JobStore, valkey: ValkeyProcess, prompts: Path) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    assert cli("delete", job_id).returncode == 0
    with valkey.client() as client:
        assert [key for key in client.scan_iter() if job_id.encode() in key] == []
    assert cli("status", job_id).returncode == 3
