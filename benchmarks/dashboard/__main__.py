"""Measure the dashboard: `python -m benchmarks.dashboard [--jobs N] [--lines N] [--tabs N] [--seconds N]`.

The command starts a Valkey server and `qwen-batch serve`, over a project of many jobs and a huge job with 10,000 failed
lines. It prints the time, the processor time and the size of each page, and the processor time that open tabs take.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import re
import tempfile
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

import psutil

from benchmarks.dashboard.store import HUGE, MODEL, NEEDLE, Running, Writer, add_huge_job, add_jobs
from benchmarks.http_load.service import percentiles, serving
from jobs.records.model_card import ModelCard
from jobs.settings import Settings
from server.stores import open_stores
from testing.jobs.sample_jobs import worker_report
from testing.processes.valkey import running_valkey

REPEATS = 20
WARM_SECONDS = 2.0  # before processor time is counted


def main() -> None:
    """Fill the store, and measure pages and tabs."""
    parser = argparse.ArgumentParser(description="Measure the dashboard.")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the project")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of the huge job")
    parser.add_argument("--tabs", type=int, default=50, help="open tabs")
    parser.add_argument("--seconds", type=int, default=20, help="time for which the tabs are open")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        folder = Path(name)
        stores = open_stores(Settings(redis_url=valkey.url), str(folder / "files"))
        stores.jobs.fleet.publish_model(ModelCard(MODEL, 1000, 2048, True))
        stores.jobs.fleet.report_worker(worker_report(model=MODEL), 3600.0)
        add_huge_job(stores.jobs, valkey, said.lines)
        running = add_jobs(stores, said.jobs)
        with serving(valkey, folder) as service:
            visitor = Visitor(service.port)
            measure_pages(visitor, service.http, running, said.lines)
            with Writer(stores.jobs, running):
                measure_tabs(visitor, service.http, paths_of(running, said.tabs), said.seconds)


class Visitor:
    """A browser without cache."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = HTTPConnection("127.0.0.1", port)
        self.cookie = ""
        self.cookie = self._cookie()

    def _cookie(self) -> str:
        self._connection.request("GET", "/")
        answer = self._connection.getresponse()
        answer.read()
        return (answer.getheader("set-cookie") or "").partition(";")[0]

    def get(self, path: str) -> bytes:
        """Return the body of a page. Raises `RuntimeError` if the answer is not 200."""
        self._connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return body


def measure_pages(visitor: Visitor, process: psutil.Process, running: Sequence[Running], lines: int) -> None:
    """Print the time, the processor time of the HTTP process and the size of each page."""
    pages = {
        "jobs": "/",
        "jobs, a name that is not there": "/?q=not-there",
        "a job that runs": f"/jobs/{running[0].batch_id}",
        "the huge job": f"/jobs/{HUGE}",
        "its errors": f"/jobs/{HUGE}/errors",
        "its lines from the middle": f"/jobs/{HUGE}/lines?from={lines // 2}",
        "its failed lines": f"/jobs/{HUGE}/lines?show=failed",
        "a search in its lines": f"/jobs/{HUGE}/lines?q={NEEDLE}",
        "its last line": f"/jobs/{HUGE}/lines/{lines}",
        "fleet": "/fleet",
        "submit": "/submit",
        "metrics": "/metrics",
    }
    for name, path in pages.items():
        waits: list[float] = []
        body = visitor.get(path)
        used, began = _used_seconds(process), time.perf_counter()
        while len(waits) < REPEATS and time.perf_counter() - began < 10:
            before = time.perf_counter()
            body = visitor.get(path)
            waits.append(time.perf_counter() - before)
        per_page = (_used_seconds(process) - used) / len(waits) * 1000
        print(f"{name}: {percentiles(waits)}, {per_page:.1f} ms of processor time, {len(body) / 1000:.1f} kB")
        if name == "a search in its lines":
            print(f"  the whole search: {_whole_search(visitor, body):.1f} s")
    front = visitor.get("/").decode()
    assets = re.findall(r'"(/static/[^"]+)"', front)
    print(f"{len(assets)} assets: {sum(len(visitor.get(path)) for path in assets) / 1000:.1f} kB")


def _whole_search(visitor: Visitor, first: bytes) -> float:
    """Return the seconds in which a page of lines completes itself, without its first request."""
    began, part = time.perf_counter(), first
    while found := re.search(rb'hx-get="([^"]+)"', part):
        part = visitor.get(html.unescape(found[1].decode()))
    return time.perf_counter() - began


def paths_of(running: Sequence[Running], tabs: int) -> list[str]:
    """Return what the tabs show: two fifths the list, two fifths one of ten jobs, and one fifth the fleet."""
    jobs = [f"/jobs/{job.batch_id}" for job in running[:9]] + [f"/jobs/{HUGE}"]
    return [("/", jobs[tab // 5 % 10], "/fleet", "/", jobs[(tab // 5 + 5) % 10])[tab % 5] for tab in range(tabs)]


def measure_tabs(visitor: Visitor, process: psutil.Process, paths: Sequence[str], seconds: int) -> None:
    """Let each tab ask for the live part of its page once per second."""
    waits, changed, used = asyncio.run(_open_tabs(visitor, process, paths, seconds))
    print(
        f"{len(paths)} tabs for {seconds} s: {len(waits):,} answers, {changed / len(waits):.0%} of them with a change"
    )
    print(f"  {percentiles(waits)}, {used / seconds:.1%} of a core")


async def _open_tabs(
    visitor: Visitor, process: psutil.Process, paths: Sequence[str], seconds: int
) -> tuple[list[float], int, float]:
    """Return the wait for each answer, the number of parts that had changed, and the processor time, in seconds."""
    waits: list[float] = []
    changed = 0
    begins_at = time.perf_counter() + WARM_SECONDS

    async def one_tab(number: int, path: str) -> None:
        nonlocal changed
        await asyncio.sleep(number / len(paths))  # tabs were not opened at the same moment
        reader, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
        etag = b""
        while (before := time.perf_counter()) < begins_at + seconds:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nHX-Request: true\r\nCookie: {visitor.cookie}\r\n"
            writer.write(head.encode() + b"If-None-Match: " + (etag or b'""') + b"\r\n\r\n")
            answer = await reader.readuntil(b"\r\n\r\n")
            status = answer.split()[1]
            if status == b"200":
                length = re.search(rb"content-length: (\d+)", answer)
                assert length is not None
                await reader.readexactly(int(length[1]))
                found = re.search(rb'etag: ("[^"]*")', answer)
                assert found is not None
                etag = found[1]
            elif status != b"304":
                raise RuntimeError(answer.decode())
            if before >= begins_at:
                waits.append(time.perf_counter() - before)
                changed += status == b"200"
            await asyncio.sleep(max(before + 1 - time.perf_counter(), 0))
        writer.close()

    async def processor_time() -> float:
        await asyncio.sleep(begins_at - time.perf_counter())
        before = _used_seconds(process)
        await asyncio.sleep(seconds)
        return _used_seconds(process) - before

    tabs = [asyncio.ensure_future(one_tab(number, path)) for number, path in enumerate(paths)]
    used = await processor_time()
    await asyncio.gather(*tabs)
    return waits, changed, used


def _used_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
