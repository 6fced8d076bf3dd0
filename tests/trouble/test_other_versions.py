"""A store that another version of qwen-batch uses is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import OtherFormat
from jobs.keys import FORMAT
from jobs.stores.connect import connect
from jobs.wire_format import WIRE_FORMAT
from tests.support.command_line import environment, qwen_batch, write_jsonl
from tests.support.sample_jobs import new_job
from tests.trouble.conftest import StartServer
from tests.worker.cluster import Cluster


def test_the_first_who_writes_sets_the_stores_format(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        store = connect(server.url)
        assert client.get(FORMAT) is None
        store.create(new_job())
        assert client.get(FORMAT) == str(WIRE_FORMAT).encode()
        connect(server.url)


@pytest.mark.parametrize("other", [str(WIRE_FORMAT + 1), "\x1b[31m"])
def test_commands_and_workers_refuse_another_format_in_one_line(
    start_server: StartServer, model_folder: Path, tmp_path: Path, other: str
) -> None:
    server = start_server()
    cluster = Cluster(server, "versions", model_folder, tmp_path)
    with server.client() as client:
        client.set(FORMAT, other)
        with pytest.raises(OtherFormat):
            connect(server.url)
        env = environment(tmp_path, QWEN_BATCH_REDIS_URL=server.url)
        prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "1 + 1 ="}])
        for words in (["list"], ["submit", prompts]):
            done = qwen_batch(*words, env=env)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith(f"Error: The store at 127.0.0.1:{server.port} has ")
            assert "\x1b" not in done.stderr and "Traceback" not in done.stderr
        with cluster.worker() as worker:
            assert worker.exit_code() == 2
            assert "Error: The store at" in worker.log and "another database" in worker.log
            assert "\x1b" not in worker.log and "Traceback" not in worker.log
        assert client.dbsize() == 1
