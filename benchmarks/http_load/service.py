"""The service under load, in processes of its own, and requests to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from jobs import tether
from jobs.records.model_card import ModelCard
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess

MEBIBYTE = 2**20
MODEL = "demo"


@dataclass(frozen=True)
class ServiceUnderLoad:
    """A service without keys. Some worker has served the model `demo`."""

    port: int
    parent: psutil.Process  # parent of all processes of the service
    http: psutil.Process  # the only HTTP process
    clerk: psutil.Process
    redis: psutil.Process
    redis_url: str
    store: JobStore
    files: Path  # folder of the file store


@contextmanager
def serving(valkey: ValkeyProcess, folder: Path) -> Iterator[ServiceUnderLoad]:
    """Start the service, and stop it at the end of the block."""
    store, files = connect(valkey.url), folder / "files"
    store.fleet.publish_model(ModelCard(MODEL, 1000, 2048, has_chat_template=True))
    log = folder / "serve.log"
    words = ["serve", "--port", "0", "--files", str(files), "--unfinished-batches", "1000000"]
    words += ["--interactive-requests", "10000"]
    environment = {**os.environ, "QWEN_BATCH_REDIS_URL": valkey.url, "QWEN_BATCH_LOG_LEVEL": "warning"}
    command = tether.command([sys.executable, "-m", "cli.main", *words], signal.SIGTERM)  # also if this is killed
    with log.open("wb") as output:
        parent = subprocess.Popen(command, env=environment, stderr=output)
    try:
        while not (found := re.search(r"http://127.0.0.1:(\d+)", log.read_text())):
            if parent.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        http, clerk = (_child(parent.pid, module) for module in ("server.http_process", "server.clerk.main"))
        processes = psutil.Process(parent.pid), http, clerk, psutil.Process(valkey.pid)
        yield ServiceUnderLoad(int(found[1]), *processes, valkey.url, store, files)
    finally:
        parent.terminate()
        parent.wait()


def _child(pid: int, module: str) -> psutil.Process:
    return next(child for child in psutil.Process(pid).children(recursive=True) if module in child.cmdline())


def get(connection: HTTPConnection, path: str) -> bytes:
    """Return the body of an answer, which must be 200."""
    connection.request("GET", path)
    return _body(connection)


def post(connection: HTTPConnection, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Send JSON, and return the JSON of the answer, which must be 200."""
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(_body(connection))


def create_batch(connection: HTTPConnection, file_id: str) -> str:
    """Create a batch of an uploaded file, and return its id."""
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(post(connection, "/v1/batches", body)["id"])


def connection_to(service: ServiceUnderLoad) -> HTTPConnection:
    """Return a new connection to the service."""
    return HTTPConnection("127.0.0.1", service.port, timeout=60)


def _body(connection: HTTPConnection) -> bytes:
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    return body


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def percentiles(seconds: Sequence[float]) -> str:
    """Return the median, the 99th percentile and the maximum in milliseconds, as text."""
    ordered = sorted(seconds)
    median, late = (ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1000 for part in (0.5, 0.99))
    return f"median {median:.1f} ms, p99 {late:.1f} ms, max {ordered[-1] * 1000:.1f} ms"
