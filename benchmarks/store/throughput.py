"""Measure the results store without a model: lines per second, and memory.

    python -m benchmarks.store.throughput [--lines 100000] [--shard-size 256]

Starts its own server. Texts are English words with Zipf's frequencies, about 300 characters per completion.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import redis

from jobs.records.completion import Completion, Latency, Usage
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from jobs.records.shard_stats import ShardStats
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.valkey import running_valkey
from worker.shards.outbox import FLUSH_LINES

WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they "
    "which one you were her all she there would their we him been has when who will more no if out so said what "
    "up its about into than them can only other new some could time these two may then do first any my now such "
    "like our over man me even most made after also did many before must through back years where much your way "
    "well down should because each just those people how too little state good very make world still own see men "
    "work long get here between both life being under never day same another know while last might us great old "
    "year off come since against go came right used take three model language question answer number compute "
    "capital river sentence explain translate summary list"
)


@contextmanager
def rate(name: str, lines: int) -> Iterator[None]:
    """Print the lines per second of the block."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    print(f"{name:<10} {lines / seconds:>10,.0f} lines/s  ({seconds:.2f} s)")


def text(luck: random.Random, words: int) -> str:
    """Return English-like text. Words are drawn by Zipf's law."""
    vocabulary = WORDS.split()
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    return " ".join(luck.choices(vocabulary, weights, k=words)).capitalize() + "."


def measure(store: JobStore, client: redis.Redis, num_lines: int, shard_size: int) -> None:
    """Submit, run and read a job, and print the figures."""
    luck = random.Random(1)
    prompts = [Prompt(index=line, id=f"line-{line}", text=text(luck, 20)) for line in range(num_lines)]
    completions = [
        Completion(
            index=line,
            id=f"line-{line}",
            text=text(luck, 60),
            finish_reason=FinishReason.STOP,
            usage=Usage(25, 70),
            finished_at=1_700_000_000.0 + line / 1000,
            latency=Latency(ttft_ms=luck.uniform(10, 90), tpot_ms=luck.uniform(5, 9), e2el_ms=luck.uniform(300, 900)),
        )
        for line in range(num_lines)
    ]
    json_bytes = sum(len(msgspec.json.encode(line)) for line in (*prompts, *completions))
    spec = NewJob("job", "demo", "native", SamplingSettings(), 1, num_lines, shard_size, "bench", time.time())
    before = client.info("memory")["used_memory"]

    with rate("add_shard", num_lines):
        store.submissions.create(spec)
        for shard in range(spec.num_shards):
            store.submissions.add_shard(ShardRef("job", shard), prompts[shard * shard_size : (shard + 1) * shard_size])
        store.submissions.open("job")
    stats = ShardStats("worker", "cpu", "float32", "none", True, 0.0, 0.0)
    with rate("run", num_lines):
        for shard in range(spec.num_shards):
            run_shard(store, ShardRef("job", shard), completions, stats)
    with rate("results", num_lines):
        assert sum(1 for _ in store.jobs.results("job")) == num_lines
    used = client.info("memory")["used_memory"] - before
    print(f"memory     {used / 1e6:,.1f} MB for {json_bytes / 1e6:,.1f} MB of JSON: {used / json_bytes:.2f}")
    with rate("delete", num_lines):
        store.control.delete("job")


def run_shard(store: JobStore, shard: ShardRef, completions: list[Completion], stats: ShardStats) -> None:
    """Do what a worker does with a shard, but without a model."""
    lease = store.work.lease(shard, "worker", 60)
    assert lease is not None
    lines = [prompt.index for prompt in store.work.pending(lease)]
    for start in range(0, len(lines), FLUSH_LINES):
        store.work.write(lease, [completions[line] for line in lines[start : start + FLUSH_LINES]])
    store.work.finish_shard(lease, stats)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--shard-size", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as server, server.client() as client:
        measure(connect(server.url), client, options.lines, options.shard_size)


if __name__ == "__main__":
    main()
