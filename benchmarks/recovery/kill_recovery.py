"""Measure how soon another worker continues the shards of a worker that was killed with -9.

Also check that no line is lost, doubled or computed again.

    python -m benchmarks.recovery.kill_recovery [--repeats 20] [--lines 2000] [--seed 1]

Starts its own server and two workers, with default settings and a tiny random model. Each repeat kills one of the
workers at a random moment of a job, and starts a new one in its place. The survivor takes free shards as soon as its
batch has room.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from jobs.keys import JobKeys
from jobs.records.job import ShardRef
from jobs.settings import Settings
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster, num_tokens
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

TARGET_SECONDS = 5.0
POLL_SECONDS = 0.005
TAKEOVER_LIMIT_SECONDS = 60.0
JOB_LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Recovery:
    """Times and counts of one kill."""

    done: int  # lines that had a result at the kill
    held: int  # shards that the dead worker held
    freed_seconds: float  # time from the kill until all of these shards were free
    first_seconds: float  # time from the kill until another worker had one of these shards
    all_seconds: float  # time from the kill until other workers had, or had finished, all of them
    redone: int  # tokens of lines with a result that the survivor computed again


class KillBench:
    """A server, two workers, and one job per kill."""

    def __init__(self, cluster: Cluster, running: ExitStack, luck: random.Random) -> None:
        self._cluster = cluster
        self._running = running
        self._luck = luck
        self._workers = [self._start(), self._start()]

    def kill_one(self, lines: int) -> Recovery:
        """Run a job, and kill a worker while it runs. Raises `AssertionError` for a wrong result."""
        cluster = self._cluster
        for worker in self._workers:
            worker.wait_until(cluster.store, "idle")
        victim, survivor = self._luck.sample(self._workers, 2)
        survivor_id, before = self._report(survivor)
        victim_id, _ = self._report(victim)
        job_id = cluster.submit(lines)
        cluster.wait_until_done(job_id, self._luck.randint(lines // 20, lines * 4 // 5))
        time.sleep(self._luck.uniform(0, 0.5))  # so that kills do not all follow a flush
        victim.kill()
        killed_at = time.monotonic()
        done = {line.index for line in cluster.store.jobs.results(job_id)}
        orphans = self._shards_of(job_id, victim_id)
        freed, first, every = self._wait_for_takeover(job_id, victim_id, orphans, killed_at)
        cluster.wait_until_ended(job_id, JOB_LIMIT_SECONDS)
        cluster.check_results(job_id, lines)
        survivor.wait_until(cluster.store, "idle")
        computed = self._report(survivor)[1] - before
        spec = cluster.store.jobs.get(job_id).spec
        shares = {share.worker_id: share.output_tokens for share in cluster.store.jobs.stats(job_id).workers}
        kept = sum(num_tokens(index) for index in done if index // spec.shard_size in orphans)
        needed = sum(map(num_tokens, range(lines))) - shares.get(victim_id, 0) - kept
        assert survivor_id in shares
        self._workers = [survivor, self._start()]
        return Recovery(len(done), len(orphans), freed, first, every, computed - needed)

    def _start(self) -> WorkerUnderTest:
        return self._running.enter_context(self._cluster.worker())

    def _report(self, worker: WorkerUnderTest) -> tuple[str, int]:
        """Return the worker's id, and the number of tokens that it has computed."""
        (report,) = [report for report in self._cluster.store.fleet.workers() if report.pid == worker.pid]
        return report.worker_id, report.output_tokens

    def _shards_of(self, job_id: str, worker_id: str) -> set[int]:
        holders = self._holders(job_id)
        return {shard for shard, holder in holders.items() if holder == worker_id}

    def _holders(self, job_id: str) -> dict[int, str]:
        keys = JobKeys(job_id)
        with self._cluster.valkey.client() as client:
            shards = [int(shard) for shard in client.zrange(keys.leases, 0, -1)]
            holders = [client.hget(keys.shard(shard), "worker") for shard in shards]
        return {shard: holder.decode() for shard, holder in zip(shards, holders, strict=True) if holder is not None}

    def _wait_for_takeover(
        self, job_id: str, victim_id: str, orphans: set[int], killed_at: float
    ) -> tuple[float, float, float]:
        """Wait until other workers have taken the dead worker's shards over.

        Returns three times in seconds since the kill. They end when the dead worker holds no shard, when another worker
        has one of its shards, and when other workers have all of them. All are 0 if the dead worker held no shard.
        """
        keys, waiting, freed, first = JobKeys(job_id), set(orphans), 0.0, 0.0
        with self._cluster.valkey.client() as client:
            while waiting:
                holders = self._holders(job_id)
                taken = {shard for shard in waiting if holders.get(shard, victim_id) != victim_id}
                taken |= {shard for shard in waiting if client.exists(keys.results(shard))}
                now = time.monotonic() - killed_at
                freed = freed or (0.0 if victim_id in holders.values() else now)
                first = first or (now if taken else 0.0)
                waiting -= taken
                assert now < TAKEOVER_LIMIT_SECONDS, [ShardRef(job_id, shard) for shard in sorted(waiting)]
                time.sleep(POLL_SECONDS)
        return freed, first, time.monotonic() - killed_at if orphans else 0.0


def report(recoveries: list[Recovery], lines: int) -> None:
    """Print the figures."""
    for name in ("freed_seconds", "first_seconds", "all_seconds"):
        values = [getattr(recovery, name) for recovery in recoveries if recovery.held]
        if values:
            print(f"{name:<14} median {statistics.median(values):.2f} s, maximum {max(values):.2f} s")
    late = sum(recovery.first_seconds > TARGET_SECONDS for recovery in recoveries)
    print(f"kills           {len(recoveries)}, of which {late} took more than {TARGET_SECONDS:.0f} s")
    print(f"lines           {lines * len(recoveries):,}, each there exactly once, counters equal lines")
    print(f"computed again  {sum(recovery.redone for recovery in recoveries)} tokens of finished lines")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    defaults = Settings()
    timing = {name: str(getattr(defaults, name)) for name in ("lease_ttl_seconds", "sweep_seconds", "flush_seconds")}
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as server, ExitStack() as running:
        model = write_tiny_checkpoint(write_byte_level_tokenizer(Path(name) / "model"), vocab_size=257)
        cluster = Cluster(server, "kill", model, Path(name))
        cluster.settings |= timing
        bench = KillBench(cluster, running, random.Random(options.seed))
        recoveries = []
        for number in range(options.repeats):
            recovery = bench.kill_one(options.lines)
            recoveries.append(recovery)
            print(number + 1, recovery, flush=True)
    report(recoveries, options.lines)


if __name__ == "__main__":
    main()
