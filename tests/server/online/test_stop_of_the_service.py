"""What becomes of streams and uploads that are under way when the service is asked to stop."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, OpenAI

from jobs.online import online_keys
from jobs.online.redis_online import RedisOnline
from jobs.records.model_card import ModelCard
from jobs.stores.connect import connect, connect_server
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken
from testing.processes.valkey import ValkeyProcess, running_valkey
from tests.server.conftest import REPOSITORY
from tests.server.files.test_files import FILE, PURPOSE, form
from tests.server.online.conftest import FAR_FUTURE_MS, MESSAGES

MODEL = "stopping"
STREAMS = 20
DRAIN_SECONDS = 3.0
SERVE = """
import sys
from jobs.settings import Settings
from server.main import Service
from server.options import as_options
options = as_options({"files": sys.argv[1], "port": 0, "drain_seconds": float(sys.argv[2])})
Service(Settings.from_env(), options).run(lambda address: print(f"Serving {address}.", flush=True))
"""


@contextmanager
def brief_service(valkey: ValkeyProcess, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A service that gives its requests few seconds to end. Yields its process, its address and its log."""
    log = folder / "serve.log"
    words = [sys.executable, "-P", "-c", SERVE, str(folder / "files"), str(DRAIN_SECONDS)]
    environment = os.environ | {"QWEN_BATCH_REDIS_URL": valkey.url, "PYTHONPATH": str(REPOSITORY)}
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Serving (http\S+)\.$", log.read_text(), re.MULTILINE)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # nobody tells when a file grows
        yield process, found[1], log
    finally:
        process.kill()
        process.wait()


def begin_upload(address: str, body: bytes, content_type: str) -> socket.socket:
    """Send the first part of an upload, and return its connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Content-Type: {content_type}\r\n\r\n".encode() + body[:50])
    return connection


def outcome(stream: Any) -> str:
    """The text of the rest of a stream, or the code of its error."""
    try:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    except APIError as error:
        return str(error.code)


@pytest.mark.slow
def test_a_stop_lets_streams_and_uploads_end_and_tells_the_rest(tmp_path: Path) -> None:
    request = form(PURPOSE, FILE)
    body, content_type = request["content"], request["headers"]["content-type"]
    with (
        running_valkey(tmp_path) as valkey,
        brief_service(valkey, tmp_path) as (process, address, log),
        OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60) as client,
        ThreadPoolExecutor(STREAMS) as pool,
    ):
        connect(valkey.url).fleet.publish_model(ModelCard(MODEL, 1000, 2048, has_chat_template=True))
        worker = ScriptedWorker(RedisOnline(connect_server(valkey.url)), MODEL)
        with valkey.client() as redis:
            redis.zadd(online_keys.workers(MODEL), {worker.name: FAR_FUTURE_MS})
        create = client.chat.completions.create
        asked = [pool.submit(create, model=MODEL, messages=MESSAGES, stream=True) for _ in range(STREAMS)]
        requests = [worker.take() for _ in range(STREAMS)]
        for each in requests:
            worker.say(each, taken(each), *pieces(each, "2 +"))
        streams = [each.result() for each in asked]
        uploads = [begin_upload(address, body, content_type) for _ in range(2)]
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "files").glob("*/*.part"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # the service tells nobody that an upload has begun
        process.send_signal(signal.SIGTERM)
        for each in requests[::2]:
            worker.say(each, end(each, "2 + 3"))
        uploads[0].sendall(body[50:])
        with uploads[0], uploads[1]:
            assert uploads[0].recv(10_000).startswith(b"HTTP/1.1 200 ")
            outcomes = sorted(pool.map(outcome, streams))
            assert process.wait(timeout=60) == 0
    assert outcomes == ["2 + 3"] * (STREAMS // 2) + ["shutting_down"] * (STREAMS // 2)
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_a_service_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what `nohup` does; the service inherits it
    try:
        with running_valkey(tmp_path) as valkey, brief_service(valkey, tmp_path) as (process, _, _):
            status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        signal.signal(signal.SIGHUP, before)
    ignored = re.search(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)
    assert ignored is not None
    assert int(ignored[1], 16) >> (signal.SIGHUP - 1) & 1
