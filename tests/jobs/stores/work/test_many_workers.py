"""Workers that run at once and are lost at random."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.errors import LeaseLost
from jobs.records.job import JobState, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_run_at_once_and_die_at_random_leave_every_line_once(
    under_test: StoreUnderTest, seed: int
) -> None:
    store, lines = under_test.store, 60
    submit(store, new_job(lines=lines, shard_size=4))
    accepted: list[int] = []

    def work(number: int) -> None:
        luck = random.Random(1000 * seed + number)
        while not store.jobs.get("job-1").state.ended:
            for shard in store.recovery.recoverable_shards("demo", 20):
                accepted.append(_run_carelessly(store, shard, f"worker-{number}", luck, under_test.ttl_seconds))
            if number == 0:
                under_test.let_pass(under_test.ttl_seconds / 2)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
    job = store.jobs.get("job-1")
    assert (job.state, job.done) == (JobState.COMPLETED, lines)
    results = list(store.jobs.results("job-1"))
    assert [line.index for line in results] == list(range(lines))
    assert sum(accepted) == job.completed
    assert sum(line.error is None for line in results) == job.completed


def _run_carelessly(store: JobStore, shard: ShardRef, worker_id: str, luck: random.Random, ttl: float) -> int:
    """Run a shard, line by line, and maybe stop responding on the way; returns how many lines were ours."""
    lease = store.work.lease(shard, worker_id, ttl, isolated=True)
    if lease is None:
        return 0
    new = 0
    try:
        while pending := store.work.pending(lease):
            for prompt in pending:
                if luck.random() < 0.05:
                    return new
                new += store.work.write(lease, [completed(prompt.index, worker_id)])
        store.work.finish_shard(lease, shard_stats(worker_id))
    except LeaseLost:
        pass
    return new
