"""Hints on a real broker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kombu.entity import Queue

from jobs.errors import StoreFull, StoreUnavailable
from jobs.queue.celery_app import make_app
from jobs.queue.celery_hints import CeleryHints
from jobs.queue.hints import RUN_SHARD_TASK
from jobs.records.job import ShardRef
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey

SHARDS = [ShardRef("job-1", index) for index in range(1200)]


@pytest.fixture
def hints(valkey: ValkeyProcess) -> CeleryHints:
    """A sender on the emptied server."""
    with valkey.client() as client:
        client.flushall()
    return CeleryHints(valkey.url)


def test_a_hint_holds_the_job_and_the_shard_and_nothing_else(hints: CeleryHints, valkey: ValkeyProcess) -> None:
    assert hints.send("org/model", SHARDS[:2]) == 2
    app = make_app(valkey.url)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(Queue("qwen-batch.org/model"))
        messages = [queue.get(timeout=60) for _ in range(2)]
        for message in messages:
            message.ack()
        queue.close()
    assert [message.payload[:2] for message in messages] == [[["job-1", 0], {}], [["job-1", 1], {}]]
    assert {message.headers["task"] for message in messages} == {RUN_SHARD_TASK}
    assert {message.content_type for message in messages} == {"application/json"}


def test_the_depth_of_a_queue_is_the_number_of_its_hints(hints: CeleryHints) -> None:
    assert hints.depth("demo") == 0
    assert hints.send("demo", iter(SHARDS)) == len(SHARDS)
    assert hints.send("demo", []) == 0
    assert hints.depth("demo") == len(SHARDS)
    assert hints.depth("another") == 0


def test_hints_are_sent_in_batches(hints: CeleryHints, valkey: ValkeyProcess) -> None:
    hints.depth("demo")
    with valkey.client() as client:
        before = client.info("stats")["total_commands_processed"]
        reads_before = client.info("stats")["total_reads_processed"]
        hints.send("demo", SHARDS)
        after = client.info("stats")["total_commands_processed"]
        reads_after = client.info("stats")["total_reads_processed"]
    assert after - before >= len(SHARDS)
    assert reads_after - reads_before < len(SHARDS) / 4


def test_a_sender_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    server = ValkeyProcess(tmp_path)
    server.start()
    hints = CeleryHints(server.url)
    try:
        hints.send("demo", SHARDS[:1])
        server.kill()
        for use in (lambda: hints.send("demo", SHARDS), lambda: hints.depth("demo")):
            with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port} refused the connection"):
                use()
        server.start()
        assert hints.send("demo", SHARDS[:3]) == 3
        assert hints.depth("demo") == 3
    finally:
        server.stop()


def test_a_full_server_says_so(tmp_path: Path) -> None:
    with running_valkey(tmp_path, options=("--maxmemory", "2mb")) as server, pytest.raises(StoreFull):
        CeleryHints(server.url).send("demo", SHARDS * 3)


def test_a_wrong_password_is_named_but_not_shown(valkey: ValkeyProcess) -> None:
    hints = CeleryHints(f"redis://:not-the-secret@127.0.0.1:{valkey.port}/0")
    with pytest.raises(StoreUnavailable, match="refuses the user or the password") as caught:
        hints.send("demo", SHARDS[:1])
    assert "not-the-secret" not in str(caught.value)


def test_hints_go_through_a_unix_socket_and_into_the_urls_database(tmp_path: Path) -> None:
    socket = tmp_path / "valkey.sock"
    with running_valkey(tmp_path, options=("--unixsocket", str(socket))) as server:
        hints = CeleryHints(f"unix://:{server.password}@{socket}?db=3")
        hints.send("demo", SHARDS[:2])
        assert hints.depth("demo") == 2
        with server.client() as client:
            client.select(3)
            assert client.llen("qwen-batch.demo") == 2


def test_making_a_sender_neither_connects_nor_loads_celery() -> None:
    code = (
        "import sys; from jobs.queue.celery_hints import CeleryHints\n"
        f"CeleryHints('redis://127.0.0.1:{free_port()}/0')\n"
        "print([name for name in ('celery', 'kombu', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_application_takes_json_only_and_hoards_nothing() -> None:
    conf = make_app("redis://127.0.0.1:1/0").conf
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert (conf.task_ignore_result, conf.result_backend) == (True, None)
