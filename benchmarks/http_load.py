"""Measure the HTTP service: `python -m benchmarks.http_load [--uploads N] [--clients N] [--seconds N]`.

The command starts a Valkey server and `qwen-batch serve`. It uploads large files at once and downloads one, then polls
a batch from many connections. It prints rates, latencies, and the memory and processor time of the HTTP process.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil

from jobs.records.model_card import ModelCard
from jobs.stores.connect import connect
from testing.processes.valkey import ValkeyProcess, running_valkey

MEBIBYTE = 2**20
LINE_CHARS = 4000
HEALTH_PAUSE_SECONDS = 0.02


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description="Measure the HTTP service.")
    parser.add_argument("--uploads", type=int, default=4, help="files that are uploaded at once")
    parser.add_argument("--mebibytes", type=int, default=200, help="size of each file")
    parser.add_argument("--clients", type=int, default=1000, help="connections that poll once per second")
    parser.add_argument("--seconds", type=int, default=20, help="duration of the polling")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        connect(valkey.url).fleet.publish_model(ModelCard("demo", 1000, 2048, True))
        with serving(valkey, Path(name)) as (port, process):
            measure_uploads(port, process, said.uploads, said.mebibytes * MEBIBYTE)
            measure_polling(port, process, said.clients, said.seconds)


@contextmanager
def serving(valkey: ValkeyProcess, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Start the service. Yields its port and its HTTP process."""
    log = folder / "serve.log"
    words = ["serve", "--port", "0", "--files", str(folder / "files")]
    environment = {**os.environ, "QWEN_BATCH_REDIS_URL": valkey.url, "QWEN_BATCH_LOG_LEVEL": "warning"}
    with log.open("wb") as output:
        parent = subprocess.Popen([sys.executable, "-m", "cli.main", *words], env=environment, stderr=output)
    try:
        while not (found := re.search(r"http://127.0.0.1:(\d+)", log.read_text())):
            if parent.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        children = psutil.Process(parent.pid).children()
        yield int(found[1]), next(child for child in children if "server.http_process" in child.cmdline())
    finally:
        parent.terminate()
        parent.wait()


def lines_of(size: int) -> Iterator[bytes]:
    """Iterate over pieces of a batch file of about `size` bytes."""
    done = number = 0
    while done < size:
        lines = b""
        for _ in range(256):
            number += 1
            message = {"role": "user", "content": "x" * LINE_CHARS}
            body = {"model": "demo", "messages": [message]}
            line = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}
            lines += json.dumps(line).encode() + b"\n"
        done += len(lines)
        yield lines


def measure_uploads(port: int, process: psutil.Process, number: int, size: int) -> None:
    """Upload files at once while `/health` is asked, then download one of them."""
    pieces = list(lines_of(size))
    total = sum(map(len, pieces))
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    before = process.memory_info().rss
    ids: list[str] = []
    health: list[float] = []
    peak = before
    began = time.perf_counter()
    uploads = [threading.Thread(target=lambda: ids.append(upload(port, pieces, total))) for _ in range(number)]
    for thread in uploads:
        thread.start()
    connection = HTTPConnection("127.0.0.1", port)
    while any(thread.is_alive() for thread in uploads):
        health.append(timed(lambda: get(connection, "/health")))
        peak = max(peak, process.memory_info().rss)
        time.sleep(HEALTH_PAUSE_SECONDS)
    seconds = time.perf_counter() - began
    print(f"{number} uploads of {total / MEBIBYTE:.0f} MiB: {number * total / seconds / 1e6:.0f} MB/s in all")
    print(f"  memory of the HTTP process: {before / MEBIBYTE:.0f} MiB + {(peak - before) / MEBIBYTE:.0f} MiB")
    print(f"  /health meanwhile: {percentiles(health)}")
    began = time.perf_counter()
    content = get(connection, f"/v1/files/{ids[0]}/content")
    seconds = time.perf_counter() - began
    same = "the same bytes" if hashlib.sha256(content).hexdigest() == digest else "OTHER BYTES"
    print(f"download: {total / seconds / 1e6:.0f} MB/s, {same}")


def upload(port: int, pieces: Sequence[bytes], total: int) -> str:
    """Upload one file, and return its id."""
    head = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    end = b"\r\n--b--\r\n"
    connection = HTTPConnection("127.0.0.1", port, blocksize=MEBIBYTE)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + total + len(end)))
    connection.endheaders()
    for piece in (head, *pieces, end):
        connection.send(piece)
    answer = json.loads(connection.getresponse().read())
    return str(answer["id"])


def get(connection: HTTPConnection, path: str) -> bytes:
    """Return the body of an answer, which must be 200."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    return body


def measure_polling(port: int, process: psutil.Process, clients: int, seconds: int) -> None:
    """Poll one batch per ten clients, once per second and client."""
    file = upload(port, [next(lines_of(1))], len(next(lines_of(1))))
    batches = [create(port, file) for _ in range(max(clients // 10, 1))]
    before = process.cpu_times()
    waits = asyncio.run(poll(port, [batches[number % len(batches)] for number in range(clients)], seconds))
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"{clients:,} clients for {seconds} s: {len(waits):,} answers, {percentiles(waits)}")
    print(f"  processor time of the HTTP process: {used / seconds:.2f} cores")


def create(port: int, file: str) -> str:
    """Create a batch, and return its id."""
    connection = HTTPConnection("127.0.0.1", port)
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    connection.request("POST", "/v1/batches", json.dumps(body), {"Content-Type": "application/json"})
    return str(json.loads(connection.getresponse().read())["id"])


async def poll(port: int, batches: Sequence[str], seconds: int) -> list[float]:
    """Ask for each batch once per second on a connection of its own. Returns the seconds of every answer."""
    waits: list[float] = []

    async def one_client(number: int, batch: str) -> None:
        await asyncio.sleep(number / len(batches))  # clients do not start at the same moment
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /v1/batches/{batch} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for _ in range(seconds):
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(head.decode())
            await reader.readexactly(int(length[1]))
            took = time.perf_counter() - began
            waits.append(took)
            await asyncio.sleep(max(1 - took, 0))
        writer.close()

    await asyncio.gather(*(one_client(number, batch) for number, batch in enumerate(batches)))
    return waits


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


if __name__ == "__main__":
    main()
