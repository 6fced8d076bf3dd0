"""Many streams at once: how late a piece of text comes to its client, and what it costs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time

import psutil

from benchmarks.http_load.service import MODEL, ServiceUnderLoad, percentiles
from jobs.online.redis_online import RedisOnline
from jobs.stores.connect import connect_server

_TEXT = re.compile(rb'"content":"([^"]+)"')
_BODY = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "The time?"}]})
_HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
_REQUEST = f"{_HEAD}Content-Length: {len(_BODY)}\r\n\r\n{_BODY}".encode()


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
        processes = {"HTTP process": service.http, "Redis server": service.redis, "clients": psutil.Process()}
        before = {name: _used_seconds(process) for name, process in processes.items()}
        try:
            late = asyncio.run(_all_streams(service.port, streams, number))
        except BaseException:
            worker.kill()
            raise
        used = {name: _used_seconds(process) - before[name] for name, process in processes.items()}
    print(f"{streams:,} streams of {rate:g} pieces per second for {seconds:g} s: {len(late):,} pieces")
    print(f"  from the worker to the client: {percentiles(late)}")
    for name, process_seconds in used.items():
        print(f"  {name}: {process_seconds / len(late) * 1e6:.0f} µs of processor time per piece")


def _used_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _all_streams(port: int, streams: int, number: int) -> list[float]:
    """Return how late each piece was, in seconds."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(streams)]
    late: list[float] = []
    for client in clients:
        late += await client.result(number)
    return late


class _Client(asyncio.Protocol):
    """One stream. It does little per piece, so that many clients in one process delay each other little."""

    def __init__(self) -> None:
        self._unread = b""
        self._late: list[float] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        """Note how late the pieces in the data are. Each piece is the time at which the worker made it."""
        now, end = time.monotonic(), 0
        data = self._unread + data
        for found in _TEXT.finditer(data):
            self._late += [now - float(stamp) for stamp in found[1].split()]
            end = found.end()
        self._unread = data[end:]

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note the end of the stream."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def result(self, number: int) -> list[float]:
        """Return how late each piece was, in seconds, at the end of the stream."""
        await self._ended
        if len(self._late) != number or b"[DONE]" not in self._unread:
            raise RuntimeError(f"a stream with {len(self._late)} of {number} pieces: {self._unread!r}")
        return self._late
