"""The service while its store, its processes or its parent are in trouble."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from jobs.batches.batch import BatchPhase
from jobs.errors import InvalidInput
from jobs.online import online_keys
from jobs.online.messages import OnlineRequest
from jobs.online.redis_online import RedisOnline
from jobs.records.model_card import ModelCard
from jobs.records.object_id import new_object_id
from jobs.settings import Settings
from jobs.stores.connect import connect, connect_server
from server.options import ServeOptions
from server.stores import open_stores
from testing.environment.tcp_proxy import TcpProxy
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken
from testing.processes.valkey import ValkeyProcess, running_valkey
from tests.server.batches.conftest import imported, new_batch, run
from tests.server.conftest import ServeProcess, chat_line, create, wait_for
from tests.server.files.test_files import FILE, PURPOSE, form

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """A server that these tests may stop. It keeps its data."""
    with running_valkey(tmp_path_factory.mktemp("trouble-valkey"), appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def troubled(own_valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with ServeProcess(own_valkey, tmp_path_factory.mktemp("troubled"), interpreter=sys.executable) as service:
        yield service


@pytest.fixture
def http(troubled: ServeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=troubled.address, timeout=60) as client:
        yield client


def eventually(holds: Callable[[], Any]) -> None:
    """Return as soon as something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the processes of the service tell nobody


def children(troubled: ServeProcess, module: str) -> list[psutil.Process]:
    """The child processes that run a module."""
    found = []
    for process in psutil.Process(troubled.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if module in process.cmdline():
                found.append(process)
    return found


def check_unavailable(http: httpx.Client, code: str) -> None:
    """A request that changes something is refused for now; the process itself is alive."""
    answer = http.post("/v1/files", **form(PURPOSE, FILE))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    assert answer.json()["error"]["type"] == "server_error"
    seconds = int(answer.headers["retry-after"])
    assert 1 <= seconds <= 60
    assert answer.headers["retry-after-ms"] == str(seconds * 1000)
    assert "127.0.0.1" not in answer.text
    assert http.get("/health").status_code == 200


def test_a_store_that_hangs_is_unavailable_until_it_answers(http: httpx.Client, own_valkey: ValkeyProcess) -> None:
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        check_unavailable(http, "store_unavailable")
        assert http.get("/ready").status_code == 503
        assert http.get(f"/v1/batches/{new_object_id('batch', 1.0)}").status_code == 503
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    eventually(lambda: http.get("/ready").status_code == 200)
    assert http.post("/v1/files", **form(PURPOSE, FILE)).status_code == 200


def test_a_full_store_refuses_uploads_and_can_be_read(http: httpx.Client, own_valkey: ValkeyProcess) -> None:
    with own_valkey.client() as redis:
        redis.config_set("maxmemory", 1)
        try:
            check_unavailable(http, "store_full")
            assert http.get("/v1/files").status_code == 200
            assert http.get("/ready").status_code == 200
        finally:
            redis.config_set("maxmemory", 0)
    assert http.post("/v1/files", **form(PURPOSE, FILE)).status_code == 200


def test_a_store_that_is_a_read_only_replica_refuses_changes_and_can_be_read(
    http: httpx.Client, own_valkey: ValkeyProcess
) -> None:
    file = http.post("/v1/files", **form(PURPOSE, FILE)).json()
    with own_valkey.client() as redis:
        redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            check_unavailable(http, "store_unavailable")
            assert http.get(f"/v1/files/{file['id']}").json() == file
        finally:
            redis.execute_command("REPLICAOF", "NO", "ONE")
    eventually(lambda: http.post("/v1/files", **form(PURPOSE, FILE)).status_code == 200)


@pytest.mark.slow
def test_a_store_whose_answers_come_two_seconds_late_is_unavailable_and_loses_nothing(
    own_valkey: ValkeyProcess, troubled: ServeProcess, tmp_path: Path
) -> None:
    with TcpProxy(own_valkey.port) as network:
        url = own_valkey.url.replace(str(own_valkey.port), str(network.port))
        with (
            ServeProcess(own_valkey, tmp_path, files=troubled.files, redis_url=url) as service,
            httpx.Client(base_url=service.address, timeout=60) as http,
        ):
            file = http.post("/v1/files", **form(PURPOSE, FILE)).json()
            network.delay_seconds = 2.0
            check_unavailable(http, "store_unavailable")
            assert http.get("/ready").status_code == 503
            network.delay_seconds = 0.0
            eventually(lambda: http.get("/ready").status_code == 200)
            assert http.get(f"/v1/files/{file['id']}").json() == file


@pytest.mark.slow
def test_a_finish_that_is_killed_while_it_writes_is_done_again(
    own_valkey: ValkeyProcess, troubled: ServeProcess
) -> None:
    stores = open_stores(Settings(redis_url=own_valkey.url), str(troubled.files))
    stores.jobs.fleet.publish_model(ModelCard("demo", vocab_size=1000, max_model_len=2048, has_chat_template=True))
    batch = imported(stores, new_batch(stores, *(chat_line(number) for number in range(5_000))))
    run(stores, batch)
    options = msgspec.json.encode(ServeOptions(files=str(troubled.files))).decode()
    command = [sys.executable, "-P", "-m", "server.clerk.child", options]
    order = f"finish_batch p/{batch.id}\n".encode()
    environment = os.environ | {"QWEN_BATCH_REDIS_URL": own_valkey.url}
    folder = troubled.files / "p"
    before = set(folder.iterdir())
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin is not None
        child.stdin.write(order)
        while not set(folder.iterdir()) - before:
            assert child.poll() is None
        child.kill()
    killed_at = stores.batches.get("p", batch.id)
    assert subprocess.run(command, env=environment, input=order, timeout=120, check=False).returncode == 0
    after = stores.batches.get("p", batch.id)
    assert killed_at is not None and after is not None
    assert (killed_at.phase, after.phase, after.counts.completed) == (BatchPhase.SUBMITTED, BatchPhase.COMPLETED, 5_000)
    stream = stores.content.open("p", after.output_file_id or "")
    assert stream is not None
    with stream:
        assert [json.loads(line)["custom_id"] for line in stream] == [f"r{number}" for number in range(5_000)]


def test_a_store_that_restarts_is_used_again_with_all_its_files(http: httpx.Client, own_valkey: ValkeyProcess) -> None:
    file = http.post("/v1/files", **form(PURPOSE, FILE)).json()
    own_valkey.stop()
    try:
        check_unavailable(http, "store_unavailable")
    finally:
        own_valkey.start()
    eventually(lambda: http.get("/ready").status_code == 200)
    assert http.get(f"/v1/files/{file['id']}").json() == file


def test_a_stream_goes_on_when_the_store_is_back(troubled: ServeProcess, own_valkey: ValkeyProcess) -> None:
    model, whole, done = "streamed", "2 + 3 is 5", threading.Event()
    exchange = RedisOnline(connect_server(own_valkey.url))
    connect(own_valkey.url).fleet.publish_model(ModelCard(model, 1000, 2048, has_chat_template=True))
    worker = ScriptedWorker(exchange, model)
    with own_valkey.client() as redis:
        redis.zadd(online_keys.workers(model), {worker.name: 1e13})  # it is alive until then

    def answer_again() -> None:
        """Answer a repetition of the request, which comes if the store was away for long."""
        while not done.is_set():
            again = exchange.take(model, worker.name, 0.2)
            if isinstance(again, OnlineRequest):
                worker.say(again, taken(again), end(again, whole))

    with troubled.client() as client, ThreadPoolExecutor(2) as pool:
        messages: Any = [{"role": "user", "content": "What is 2 + 3?"}]
        answer = pool.submit(client.chat.completions.create, model=model, messages=messages, stream=True)
        request = worker.take()
        worker.say(request, taken(request), *pieces(request, "2 + 3"))
        texts = (chunk.choices[0].delta.content for chunk in answer.result())
        assert next(filter(None, texts)) == "2 + 3"
        own_valkey.stop()
        own_valkey.start()
        answering = pool.submit(answer_again)
        worker.say(request, end(request, whole))
        assert "".join(filter(None, texts)) == " is 5"
        done.set()
        answering.result()


@pytest.mark.slow
def test_processes_that_are_killed_are_started_again(troubled: ServeProcess, http: httpx.Client) -> None:
    for module in ("server.http_process", "server.clerk.main"):
        (victim,) = children(troubled, module)
        victim.kill()
        eventually(lambda: [child for child in children(troubled, module) if child != victim])  # noqa: B023 - used here
    eventually(lambda: _answers(troubled))
    with troubled.client() as client:
        assert wait_for(client, create(client, chat_line(1, model="unknown")).id, "failed")


def _answers(service: ServeProcess) -> bool:
    try:
        return httpx.get(f"{service.address}/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_stop_ends_every_process_in_order(own_valkey: ValkeyProcess, troubled: ServeProcess, tmp_path: Path) -> None:
    with ServeProcess(own_valkey, tmp_path, files=troubled.files, interpreter=sys.executable) as service:
        started = psutil.Process(service.process.pid).children(recursive=True)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=60) == 0
    assert started
    assert [process for process in started if process.is_running()] == []
    assert "Traceback" not in service.log


@pytest.mark.slow
def test_no_process_outlives_a_killed_parent(own_valkey: ValkeyProcess, troubled: ServeProcess, tmp_path: Path) -> None:
    with ServeProcess(own_valkey, tmp_path, files=troubled.files, interpreter=sys.executable) as service:
        started = psutil.Process(service.process.pid).children(recursive=True)
        service.process.kill()
        service.process.wait()
    assert started
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []


def test_another_folder_than_before_is_refused(
    own_valkey: ValkeyProcess, troubled: ServeProcess, tmp_path: Path
) -> None:
    settings = Settings(redis_url=own_valkey.url)
    open_stores(settings, str(troubled.files))
    with pytest.raises(InvalidInput, match="but in another file store"):
        open_stores(settings, str(tmp_path / "other"))


@pytest.mark.slow
def test_an_upload_that_is_under_way_ends_well_during_a_stop(
    own_valkey: ValkeyProcess, troubled: ServeProcess, tmp_path: Path
) -> None:
    request = form(PURPOSE, FILE)
    body = request["content"]
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {request['headers']['content-type']}\r\n\r\n"
    with ServeProcess(own_valkey, tmp_path, files=troubled.files) as service:
        host, _, port = service.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(head.encode() + body[:50])
            eventually(lambda: list((troubled.files / "default").glob("*.part")))
            service.process.send_signal(signal.SIGTERM)
            eventually(lambda: not _answers(service))  # new connections are refused
            connection.sendall(body[50:])
            answer = connection.recv(10_000)
        assert service.process.wait(timeout=60) == 0
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in service.log
