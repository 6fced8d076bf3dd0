"""Measure interactive requests of one worker: idle, and beside a huge batch; and what they cost that batch.

    python -m benchmarks.latency.online [--model demo] [--requests 60]

A private server and one worker run here. The program asks as an HTTP process does, without HTTP. It measures:

- the seconds from a request to `Taken`, and to the first piece of text, with an idle worker,
- the seconds to the first piece beside a batch that fills the worker,
- the batch's tokens per second with one request per second, and with none.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.markdown import markdown_table
from jobs.online.messages import End, OnlineRequest, Piece, Refused, Taken
from jobs.online.online_store import BEGIN
from jobs.online.redis_online import RedisOnline
from jobs.queue.celery_hints import CeleryHints
from jobs.records.job import NewJob, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.records.served_name import served_name
from jobs.stores.connect import connect, connect_server
from jobs.stores.protocol import JobStore
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

LIMIT_SECONDS = 60.0
CHAT_TOKENS, LINE_TOKENS = 20, 400
SHARD_SIZE, NUM_SHARDS = 64, 100


class Chats:
    """Sends one request after the other, and measures its replies."""

    def __init__(self, url: str, model: str) -> None:
        self._store = RedisOnline(connect_server(url))
        self._model = model
        self._place = BEGIN
        self._number = 0

    def ask(self) -> tuple[float, float]:
        """Return the seconds from a request to `Taken`, and to its first piece. Waits for its end."""
        self._number += 1
        settings = SamplingSettings(max_tokens=CHAT_TOKENS, temperature=0, ignore_eos=True, seed=1)
        prompt = Prompt(0, f"req_{self._number}", text=f"What is {self._number} + 3?", settings=settings)
        deadline = self._store.now() + LIMIT_SECONDS
        request = OnlineRequest(prompt.id, "benchmark", self._model, prompt, deadline, stream=True)
        self._store.report_server("benchmark")  # a worker drops the requests of a server that does not report
        began_at = time.perf_counter()
        self._store.push(request)
        taken = first = 0.0
        while True:
            found = self._store.replies("benchmark", self._place, 1.0)
            seconds = time.perf_counter() - began_at
            self._store.report_server("benchmark")
            if seconds > LIMIT_SECONDS:
                raise SystemExit(f"request {request.id} has no end after {seconds:.0f} s")
            for place, entry in found:
                self._place = place
                for reply in entry.replies:
                    if isinstance(reply, Taken):
                        taken = seconds
                    elif isinstance(reply, Piece):
                        first = first or seconds
                    elif isinstance(reply, End) and reply.request_id == request.id:
                        return taken, first
                    elif isinstance(reply, Refused):
                        raise SystemExit(f"refused: {reply.error.message}")


def begin_batch(
    store: JobStore, url: str, model: str, *, num_shards: int = NUM_SHARDS, line_tokens: int = LINE_TOKENS
) -> str:
    """Submit a job that outlasts the measurement. Returns its id.

    Args:
        store: The store.
        url: The server's URL.
        model: Name of the served model.
        num_shards: Number of shards, of `SHARD_SIZE` lines each.
        line_tokens: Number of new tokens per line.
    """
    num_lines = SHARD_SIZE * num_shards
    spec = NewJob(
        new_job_id(time.time()), model, "native", SamplingSettings(), 1, num_lines, SHARD_SIZE, "bench", time.time()
    )
    store.submissions.create(spec)
    settings = SamplingSettings(max_tokens=line_tokens, temperature=0, ignore_eos=True)
    for index in range(num_shards):
        lines = [
            Prompt(number, f"line-{number}", text=f"What is {number}?", settings=settings)
            for number in range(index * SHARD_SIZE, (index + 1) * SHARD_SIZE)
        ]
        store.submissions.add_shard(ShardRef(spec.id, index), lines)
    CeleryHints(url).send(model, store.submissions.open(spec.id))
    return spec.id


def batch_rate(store: JobStore, worker: WorkerUnderTest, chats: Chats | None, seconds: float) -> tuple[float, int]:
    """Return the tokens per second of the batch while `chats` ask once per second, and the number of chats."""

    def tokens() -> int:
        return next(report.output_tokens for report in store.fleet.workers() if report.pid == worker.pid)

    before, began_at, asked = tokens(), time.monotonic(), 0
    while (passed := time.monotonic() - began_at) < seconds:
        if chats is not None and passed >= asked:
            chats.ask()
            asked += 1
        else:
            time.sleep(0.02)
    return (tokens() - before - asked * CHAT_TOKENS) / (time.monotonic() - began_at), asked


def shown(name: str, seconds: Sequence[float]) -> list[str]:
    """Return a row of the table, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return [name, *(f"{1e3 * value:.1f}" for value in (statistics.median(seconds), cuts[-1]))]


def main() -> None:
    """Start server and worker, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--requests", type=int, default=60, help="requests per measurement (default: 60)")
    parser.add_argument("--seconds", type=float, default=15.0, help="duration of each rate (default: 15)")
    options = parser.parse_args()
    model = served_name(options.model)
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as server:
        store, chats = connect(server.url), Chats(server.url, model)
        settings = {"redis_url": server.url, "model": options.model}
        with WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(store, "idle")
            chats.ask()
            idle = [chats.ask() for _ in range(options.requests)]
            job_id = begin_batch(store, server.url, model)
            worker.wait_for_report(store, lambda report: report.running >= SHARD_SIZE)
            busy = [chats.ask() for _ in range(options.requests)]
            rates = [batch_rate(store, worker, each, options.seconds) for each in (None, chats, None, chats)]
            assert not store.jobs.get(job_id).state.ended, "the batch was too short for this machine"
    rows = [
        shown("idle: until taken", [taken for taken, _ in idle]),
        shown("idle: until the first piece", [first for _, first in idle]),
        shown("beside a batch: until taken", [taken for taken, _ in busy]),
        shown("beside a batch: until the first piece", [first for _, first in busy]),
    ]
    print(markdown_table(["interactive request", "median ms", "99% ms"], rows))
    alone = statistics.mean(rate for rate, _ in rates[::2])
    shared = statistics.mean(rate for rate, _ in rates[1::2])
    print(f"\nbatch alone {alone:,.0f} tokens/s, with one request per second {shared:,.0f}: {shared / alone:.1%}")


if __name__ == "__main__":
    main()
