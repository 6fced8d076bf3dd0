"""Uploads of large files, with their memory and speed."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection

from benchmarks.http_load.service import MEBIBYTE, MODEL, ServiceUnderLoad, connection_to, get, percentiles, timed

LINE_CHARS = 4000  # length of each line's message
HEALTH_PAUSE_SECONDS = 0.02


def lines_of(size: int) -> Iterator[bytes]:
    """Iterate over pieces of a batch file of about `size` bytes."""
    done = number = 0
    while done < size:
        lines = b""
        for _ in range(256):
            number += 1
            message = {"role": "user", "content": "x" * LINE_CHARS}
            body = {"model": MODEL, "messages": [message]}
            line = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}
            lines += json.dumps(line).encode() + b"\n"
        done += len(lines)
        yield lines


def measure_uploads(service: ServiceUnderLoad, number: int, size: int) -> None:
    """Upload files at once while `/health` is asked, then download one of them."""
    pieces = list(lines_of(size))
    total = sum(map(len, pieces))
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    process = service.http
    before = process.memory_info().rss
    ids: list[str] = []
    health: list[float] = []
    peak = before
    began = time.perf_counter()
    uploads = [threading.Thread(target=lambda: ids.append(upload(service, pieces))) for _ in range(number)]
    for thread in uploads:
        thread.start()
    connection = connection_to(service)
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


def upload(service: ServiceUnderLoad, pieces: Sequence[bytes]) -> str:
    """Upload one file, and return its id."""
    head = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    end = b"\r\n--b--\r\n"
    connection = HTTPConnection("127.0.0.1", service.port, blocksize=MEBIBYTE)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + sum(map(len, pieces)) + len(end)))
    connection.endheaders()
    for piece in (head, *pieces, end):
        connection.send(piece)
    answer = json.loads(connection.getresponse().read())
    return str(answer["id"])
