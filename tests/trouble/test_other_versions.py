"""A store that another version of qwen-batch uses is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import OtherFormat
from jobs.keys import FORMAT, WIRE_FORMAT
from jobs.stores.connect import connect
from testing.jobs.sample_jobs import new_job
from testing.processes.cluster import Cluster
from testing.processes.command_line import environment, qwen_batch, write_jsonl
from tests.trouble.conftest import StartServer


def test_the_first_who_writes_sets_the_stores_format(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        store = connect(server.url)
        assert client.get(FORMAT) is None
        store.submissions.create(new_job())
        assert client.get(FORMAT) == str(WIRE_FORMAT).encode()
        connect(server.url)


def test_commands_and_workers_refuse_another_format_in_one_line(
    start_server: StartServer, model_folder: Path, tmp_path: Path
) -> None:
    server = start_server()
    cluster = Cluster(server, "versions", model_folder, tmp_path)
    env = environment(tmp_path, QWEN_BATCH_REDIS_URL=server.url)
    with server.client() as client:
        client.set(FORMAT, WIRE_FORMAT + 1)
        done = qwen_batch("submit", write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "1 + 1 ="}]), env=env)
        said = f"Error: The store at 127.0.0.1:{server.port} has format {WIRE_FORMAT + 1}; this version"
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(said)
        with cluster.worker() as worker:
            assert worker.exit_code() == 2
            assert worker.log.startswith(said) and "another database" in worker.log
            assert "Traceback" not in worker.log + done.stderr
        assert client.dbsize() == 1


def test_a_format_that_is_no_number_is_not_shown(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        client.set(FORMAT, "\x1b[31m")
        with pytest.raises(OtherFormat, match="an unknown format"):
            connect(server.url)
