"""Keep a worker full of chats while batches run: python -m benchmarks.streams.full_load [--minutes 10] [--chats 96]

A private server, the HTTP service and one worker with the demo model run here. Each chat is a stream, and the next one
begins as soon as it has ended. There are more chats than places in the engine's batch, so that some always wait. Three
jobs of many lines run beside them. The program prints what the chats saw, and how long each job stood still at most.
Exits with 1 if a chat fails, or if a job stands still for longer than a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openai import AsyncOpenAI, OpenAIError

from benchmarks.http_load.service import MODEL, serving
from benchmarks.latency.online import SHARD_SIZE, begin_batch
from benchmarks.report.markdown import markdown_table
from jobs.stores.protocol import JobStore
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

CHAT_TOKENS, LINE_TOKENS = 60, 60


@dataclass
class Chats:
    """What the chats saw."""

    first_pieces: list[float] = field(default_factory=list)  # seconds until the first piece of each answer
    faults: list[str] = field(default_factory=list)


@dataclass
class Progress:
    """How far one job came."""

    num_done: int = 0  # lines
    moved_at: float = 0.0  # when the last line ended, in `time.monotonic()` seconds
    longest: float = 0.0  # seconds between the ends of two lines

    def see(self, num_done: int, now: float) -> None:
        """Take note of the number of lines that are done."""
        self.longest = max(self.longest, now - self.moved_at)
        if num_done > self.num_done:
            self.num_done, self.moved_at = num_done, now


async def chat(client: AsyncOpenAI, number: int, until: float, seen: Chats) -> None:
    """Ask one question after the other, until a time in `time.monotonic()` seconds."""
    while (began_at := time.monotonic()) < until:
        number += 1
        try:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": f"What is {number % 100} + {number % 7}?"}],
                max_tokens=CHAT_TOKENS,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            first = None
            async for _ in stream:
                first = first or time.monotonic() - began_at
            seen.first_pieces.append(first or 0.0)
        except OpenAIError as error:
            seen.faults.append(str(error))


async def watch(store: JobStore, jobs: Sequence[str], until: float) -> dict[str, Progress]:
    """Return how far each job came until a time in `time.monotonic()` seconds."""
    found = {job_id: Progress(moved_at=time.monotonic()) for job_id in jobs}
    while (now := time.monotonic()) < until:
        for job_id, progress in found.items():
            job = await asyncio.to_thread(store.jobs.get, job_id)
            if job.state.ended:
                raise SystemExit(f"job {job_id} has ended; give it more lines (--lines)")
            progress.see(job.done, now)
        await asyncio.sleep(0.1)
    return found


async def load(port: int, store: JobStore, jobs: Sequence[str], said: argparse.Namespace) -> bool:
    """Run all chats and watch the jobs. Print both. Returns True if no chat failed and no job stood still."""
    until, seen = time.monotonic() + 60 * said.minutes, Chats()
    address = f"http://127.0.0.1:{port}/v1"
    async with AsyncOpenAI(base_url=address, api_key="none", max_retries=0, timeout=120) as client:
        watching = asyncio.create_task(watch(store, jobs, until))
        await asyncio.gather(*(chat(client, 1000 * number, until, seen) for number in range(said.chats)))
        progress = await watching
    cuts = statistics.quantiles(seen.first_pieces, n=100)
    print(f"{len(seen.first_pieces):,} chats in {said.minutes:g} minutes, {len(seen.faults)} failed: {seen.faults[:3]}")
    print(f"first piece: median {statistics.median(seen.first_pieces):.2f} s, 99% {cuts[-1]:.2f} s")
    rows = [[job_id, f"{each.num_done:,}", f"{each.longest:.1f} s"] for job_id, each in progress.items()]
    print(markdown_table(["job", "lines done", "longest time without a line"], rows))
    return not seen.faults and all(each.longest <= said.limit for each in progress.values())


def main() -> None:
    """Start everything and load it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--chats", type=int, default=96)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--lines", type=int, default=20_000, help="per job")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds that a job may stand still")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        settings = {"redis_url": valkey.url, "model": "demo", "device": "cpu"}
        with serving(valkey, Path(name)) as service, WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(service.store, "idle")
            shards = -(-said.lines // SHARD_SIZE)
            jobs = [
                begin_batch(service.store, valkey.url, MODEL, num_shards=shards, line_tokens=LINE_TOKENS)
                for _ in range(said.jobs)
            ]
            fine = asyncio.run(load(service.port, service.store, jobs, said))
    sys.exit(not fine)


if __name__ == "__main__":
    main()
