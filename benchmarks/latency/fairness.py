"""Measure the time of a small job behind a huge one of the same priority, and its time on an idle worker.

    python -m benchmarks.latency.fairness [--lines 100000] [--small 10] [--repeats 5] [--tokens 256]

Starts its own server and one worker with the demo model and the default settings. All prompts ask for sums. With
`--tokens`, each completion has exactly this length. Prints medians and maxima. All times start when the small job has
been stored.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.markdown import markdown_table
from jobs.queue.celery_hints import CeleryHints
from jobs.records.job import NewJob, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from jobs.submission.sharding import shard_size
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

MODEL = "demo"
POLL_SECONDS = 0.005
SETTLE_SECONDS = 5.0  # time of the huge job alone, before the first small one
PAUSE_SECONDS = 2.0  # pause between small jobs, a little longer than a report's age
TARGET_SECONDS = 3.0
TARGET_RATIO = 3.0


@dataclass(frozen=True)
class Passage:
    """Times of one small job, in seconds since it was stored."""

    leased: float
    first_token: float
    first_line: float  # last token of the first line, which is stored up to a second later
    ended: float


class FairnessBench:
    """A server with one worker.

    Args:
        store: The worker's store.
        hints: The worker's queue.
        tokens: Length of each completion. None to let the model end it.
    """

    def __init__(self, store: JobStore, hints: CeleryHints, tokens: int | None) -> None:
        self._store = store
        self._hints = hints
        self._defaults = SamplingSettings(temperature=0, max_tokens=tokens or 130, ignore_eos=tokens is not None)
        self._submitted = 0  # lines so far: no two are the same

    def submit(self, num_lines: int) -> tuple[str, float]:
        """Store a job of new lines and hint its shards. Returns its id, and the time at which workers could see it."""
        now = time.time()
        size = shard_size(num_lines)
        spec = NewJob(new_job_id(now), MODEL, "native", self._defaults, 1, num_lines, size, "bench", now)
        self._store.submissions.create(spec)
        for shard in range(spec.num_shards):
            places = range(shard * size, min((shard + 1) * size, num_lines))
            self._store.submissions.add_shard(ShardRef(spec.id, shard), [self._prompt(place) for place in places])
        self._submitted += num_lines
        opened_at = time.time()
        self._hints.send(MODEL, self._store.submissions.open(spec.id))
        return spec.id, opened_at

    def _prompt(self, place: int) -> Prompt:
        tens, ones = divmod(self._submitted + place, 90)
        return Prompt(place, f"line-{place}", text=f"What is {ones + 10} plus {tens % 90 + 10}?")

    def passage(self, num_lines: int) -> Passage:
        """Run a small job and return its times."""
        job_id, stored_at = self.submit(num_lines)
        while not (job := self._store.jobs.get(job_id)).state.ended:
            time.sleep(POLL_SECONDS)
        ended_at = time.time()
        assert job.completed == num_lines and job.first_step_at is not None, job
        first_tokens, last_tokens = [], []
        for line in self._store.jobs.results(job_id):
            assert line.latency is not None
            last_tokens.append(line.finished_at)
            first_tokens.append(line.finished_at - (line.latency.e2el_ms - line.latency.ttft_ms) / 1000)
        return Passage(
            leased=job.first_step_at - stored_at,
            first_token=min(first_tokens) - stored_at,
            first_line=min(last_tokens) - stored_at,
            ended=ended_at - stored_at,
        )

    @contextmanager
    def rate(self, name: str) -> Iterator[None]:
        """Print the worker's tokens per second during the block."""
        before, started = self._tokens(), time.monotonic()
        yield
        seconds = time.monotonic() - started
        print(f"{name}: {(self._tokens() - before) / seconds:,.0f} tokens/s in {seconds:.0f} s", flush=True)

    def _tokens(self) -> int:
        """Return the number of tokens in the worker's last report, which is at most a second old."""
        return sum(report.output_tokens for report in self._store.fleet.workers())


def report(alone: list[Passage], behind: list[Passage]) -> str:
    """Return a table of medians and maxima of each time, alone and behind the huge job."""
    rows = []
    for name in ("leased", "first_token", "first_line", "ended"):
        first, second = ([getattr(passage, name) for passage in passages] for passages in (alone, behind))
        ratio = statistics.median(second) / max(statistics.median(first), 0.001)
        rows.append(
            [name.replace("_", " ")]
            + [f"{pick(values):.3f} s" for values in (first, second) for pick in (statistics.median, max)]
            + [f"{ratio:.1f}"]
        )
    return markdown_table(["moment", "alone", "worst", "behind", "worst", "ratio"], rows)


def measure(bench: FairnessBench, options: argparse.Namespace) -> None:
    """Print the figures."""
    bench.passage(options.small)  # warm-up: the first use of memory takes longer
    alone = [bench.passage(options.small) for _ in range(options.repeats)]
    bench.submit(options.lines)
    time.sleep(SETTLE_SECONDS)
    with bench.rate("the huge job by itself"):
        time.sleep(2 * SETTLE_SECONDS)
    with bench.rate("with small ones, both"):
        behind = []
        for _ in range(options.repeats):
            behind.append(bench.passage(options.small))
            time.sleep(PAUSE_SECONDS)
    print(report(alone, behind))
    started, ratio = max(passage.first_token for passage in behind), _ended(behind) / _ended(alone)
    print(f"the last to start began after {started:.2f} s; bar {TARGET_SECONDS:.0f} s")
    print(f"behind the huge job {ratio:.2f} x the time alone; bar {TARGET_RATIO:.0f} x")


def _ended(passages: list[Passage]) -> float:
    return statistics.median(passage.ended for passage in passages)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as server:
        store = connect(server.url)
        settings = {"redis_url": server.url, "model": MODEL, "device": "cpu"}
        with WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(store, "idle")
            measure(FairnessBench(store, CeleryHints(server.url), options.tokens), options)


if __name__ == "__main__":
    main()
