"""Many streams at once: how late a piece of text comes to its client."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time

from benchmarks.http_load.service import MODEL, ServiceUnderLoad, percentiles
from jobs.online.redis_online import RedisOnline
from jobs.stores.connect import connect_server

_TEXT = re.compile(rb'"content":"([^"]+)"')


def measure_streams(service: ServiceUnderLoad, streams: int, rate: float, seconds: float) -> None:
    """Open streams to a worker that sends each of them `rate` pieces per second, and compare the times."""
    number = round(rate * seconds)
    words = [service.redis_url, MODEL, str(streams), str(number), str(rate)]
    online = RedisOnline(connect_server(service.redis_url))
    with subprocess.Popen([sys.executable, "-m", "benchmarks.http_load.stream_worker", *words]) as worker:
        while not online.live_workers(MODEL):
            if worker.poll() is not None:
                raise RuntimeError("the worker of the streams has ended")
            time.sleep(0.05)
        before = service.http.cpu_times()
        try:
            late = asyncio.run(_all_streams(service.port, streams, number))
        except BaseException:
            worker.kill()
            raise
        after = service.http.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"{streams:,} streams of {rate:g} pieces per second for {seconds:g} s: {len(late):,} pieces")
    print(f"  from the worker to the client: {percentiles(late)}")
    print(f"  processor time of the HTTP process: {used / seconds:.2f} cores")


async def _all_streams(port: int, streams: int, number: int) -> list[float]:
    """Return how late each piece was, in seconds."""
    found = await asyncio.gather(*(_stream(port, number) for _ in range(streams)))
    return [late for each in found for late in each]


async def _stream(port: int, number: int) -> list[float]:
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "The time?"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
    late: list[float] = []
    status, line = await reader.readline(), b""
    async for line in reader:
        now = time.monotonic()
        for text in _TEXT.findall(line):
            late += [now - float(stamp) for stamp in text.split()]
        if b"[DONE]" in line:
            break
    writer.close()
    if len(late) != number:
        raise RuntimeError(f"a stream with {len(late)} of {number} pieces: {status.decode()} {line.decode()}")
    return late
