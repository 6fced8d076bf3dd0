"""Measure when the work for a client ends that leaves: python -m benchmarks.streams.leaving_clients [--clients 200]

A private server, the HTTP service and one worker with the demo model run here. Clients leave in the middle of a stream,
in the middle of an answer without a stream, and while no worker has taken their request. The program measures the time
until the engine has no sequence, or the list no request. Exits with 1 if one takes more than half a second.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.http_load.service import MODEL, ServiceUnderLoad, percentiles, serving
from jobs.online.redis_online import RedisOnline
from jobs.records.model_card import ModelCard
from jobs.stores.connect import connect_server
from testing.processes.valkey import free_port, running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

LIMIT_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
UNSERVED = "unserved"  # a model whose worker reports itself, but takes nothing
_SEQUENCES = re.compile(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)$", re.MULTILINE)


def connect_client(service: ServiceUnderLoad, model: str, stream: bool) -> socket.socket:
    """Send a request for a long text, and return its connection."""
    messages = [{"role": "user", "content": "Go on."}]
    body = {"model": model, "messages": messages, "stream": stream, "max_tokens": 1500, "ignore_eos": True}
    text = json.dumps(body)
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
    connection.sendall((head + text).encode())
    return connection


def wait_for(holds: Callable[[], bool]) -> float:
    """Return the seconds until something holds."""
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"nothing has changed for {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.002)
    return time.perf_counter() - began


def leave_a_stream(service: ServiceUnderLoad, sequences: Callable[[], int]) -> float:
    """Leave after the first piece of text. Returns the seconds until the engine is idle."""
    with connect_client(service, MODEL, stream=True) as connection:
        text = b""
        while b'"content":"' not in text.partition(b'"role"')[2]:
            text += connection.recv(65_536)
    return wait_for(lambda: sequences() == 0)


def leave_an_answer(service: ServiceUnderLoad, sequences: Callable[[], int]) -> float:
    """Leave while the engine works on an answer that is no stream. Returns the seconds until it is idle."""
    with connect_client(service, MODEL, stream=False):
        wait_for(lambda: sequences() > 0)
    return wait_for(lambda: sequences() == 0)


def leave_the_list(service: ServiceUnderLoad, online: RedisOnline, stream: bool) -> float:
    """Leave while the request waits for a worker. Returns the seconds until the list is empty."""
    with connect_client(service, UNSERVED, stream):
        wait_for(lambda: online.waiting(UNSERVED) > 0)
    return wait_for(lambda: online.waiting(UNSERVED) == 0)


@contextmanager
def unserved_model(service: ServiceUnderLoad, online: RedisOnline) -> Iterator[None]:
    """For the block, a model has a worker that takes no request."""
    service.store.fleet.publish_model(ModelCard(UNSERVED, 1000, 2048, has_chat_template=True))
    stopped = threading.Event()

    def report() -> None:
        while True:
            online.report_worker(UNSERVED, "nobody")
            if stopped.wait(0.5):
                return

    online.report_worker(UNSERVED, "nobody")
    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        yield
    finally:
        stopped.set()
        reporter.join()


def measure(service: ServiceUnderLoad, metrics_port: int, clients: int) -> bool:
    """Let clients leave, one after the other. Returns False if the work for one of them ended too late."""

    def sequences() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=PATIENCE_SECONDS) as answer:
            return sum(int(float(value)) for value in _SEQUENCES.findall(answer.read().decode()))

    online = RedisOnline(connect_server(service.redis_url))
    good = True
    with unserved_model(service, online):
        ways: tuple[tuple[str, Callable[[int], float]], ...] = (
            ("in the middle of a stream", lambda _: leave_a_stream(service, sequences)),
            ("before the whole answer", lambda _: leave_an_answer(service, sequences)),
            ("while they wait", lambda number: leave_the_list(service, online, stream=number % 2 == 0)),
        )
        for place, (name, leave) in enumerate(ways):
            count = (clients + len(ways) - 1 - place) // len(ways)
            found = [leave(number) for number in range(count)]
            late = sum(seconds > LIMIT_SECONDS for seconds in found)
            good = good and not late
            print(f"{count} clients that leave {name}: {percentiles(found)}; {late} later than {LIMIT_SECONDS} s")
    return good


def main() -> None:
    """Start everything and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    said = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        settings = {"redis_url": valkey.url, "model": "demo", "device": "cpu", "threads": "1", "compile": "false"}
        settings["metrics_port"] = str(port)
        with serving(valkey, Path(name)) as service, WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(service.store, "idle")
            good = measure(service, port, said.clients)
    sys.exit(not good)


if __name__ == "__main__":
    main()
