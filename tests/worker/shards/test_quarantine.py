"""Shards that take their workers down: who runs them, and what is left of a job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from jobs.records.completion import ErrorCode
from jobs.records.job import JobState, ShardRef
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import RUN_WORKER
from tests.worker.shard_bench import PATIENCE_SECONDS, ShardBench, prompts
from worker.shards.active_shards import ActiveShard
from worker.shards.in_flight import InFlight
from worker.shards.shard_runner import Outcome

# The real worker, which dies as soon as it gets to see one certain line.
WITH_A_CRASHING_LINE = """
import os
from worker.shards.preparation import Preparation
prepare = Preparation.prepare
def crash(self, lines, *args, **kwargs):
    if any(line.id == "id-35" for line in lines):
        os._exit(9)
    return prepare(self, lines, *args, **kwargs)
Preparation.prepare = crash
"""


def lose_two_workers(bench: ShardBench, shard: ShardRef) -> None:
    """Let two workers crash while they hold the shard. No other worker has anything to do meanwhile."""
    for _ in range(2):
        assert bench.real_store.work.lease(shard, "dead", 0.001) is not None
        wait_until_recoverable(bench, shard)


def wait_until_recoverable(bench: ShardBench, shard: ShardRef) -> None:
    while shard not in bench.real_store.recovery.recoverable_shards(bench.facts.model, 10, expired_only=True):
        pass  # a lease ends by the server's clock alone


def test_a_quarantined_shard_is_run_to_its_end_in_parts(bench: ShardBench) -> None:
    (shard,) = bench.add_job(prompts(20))
    lose_two_workers(bench, shard)
    assert bench.real_store.work.lease(shard, "dead", 0.001, isolated=True) is not None
    wait_until_recoverable(bench, shard)
    assert bench.runner.run(shard) is Outcome.FINISHED
    assert bench.texts() == [f"p{line}"[::-1] for line in range(20)]
    assert bench.job().state is JobState.COMPLETED


class Door(threading.Condition):
    """Tells when a thread begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.release()
        return super().wait(timeout)


def wait_until_held_off(door: Door, bench: ShardBench, lines: int) -> None:
    """Until a shard is told to wait; the engine must have so many lines as long as it is."""
    while not door.waits.acquire(timeout=0.01):
        assert len(bench.engine.submitted) == lines
    assert len(bench.engine.submitted) == lines


def test_an_isolated_shard_waits_until_its_worker_runs_nothing_else_and_holds_others_off(bench: ShardBench) -> None:
    isolated, first, later = bench.add_job(prompts(6), shard_size=2)
    lose_two_workers(bench, isolated)
    door = bench.active._changed = Door()
    bench.engine.hold()
    running = bench.start(first)
    bench.engine.wait_for_submitted(2)
    elsewhere = bench.real_store.work.lease(later, "another", 60.0)
    assert elsewhere is not None
    isolated_run = bench.start(isolated)
    wait_until_held_off(door, bench, lines=2)
    bench.engine.finish()
    assert running.outcome() is Outcome.FINISHED
    bench.engine.wait_for_submitted(4)
    bench.real_store.work.release(elsewhere)
    held_off = bench.start(later)
    wait_until_held_off(door, bench, lines=4)
    bench.engine.finish_from_now_on()
    assert isolated_run.outcome() is Outcome.FINISHED
    assert held_off.outcome() is Outcome.FINISHED
    assert bench.job().completed == 6


def test_a_shard_that_comes_after_an_isolated_one_starts_after_it(bench: ShardBench) -> None:
    """A worker that is never idle would keep the isolated shard waiting for ever."""
    busy, isolated, later = (ActiveShard(ShardRef("job", index), InFlight(bench.engine)) for index in range(3))
    door = bench.active._changed = Door()
    order: list[str] = []

    def come_in(name: str, shard: ActiveShard, enter: Callable[[ActiveShard], AbstractContextManager[object]]) -> None:
        with enter(shard):
            order.append(name)
        door.waits.release()  # it has come in without a wait, or after one

    with bench.active.entered(busy):
        threads = []
        for name, shard, enter in (
            ("isolated", isolated, bench.active.entered_isolated),
            ("later", later, bench.active.entered),
        ):
            threads.append(threading.Thread(target=come_in, args=(name, shard, enter)))
            threads[-1].start()
            assert door.waits.acquire(timeout=PATIENCE_SECONDS)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["isolated", "later"]


def test_a_second_isolated_shard_does_not_queue_up_behind_the_first(bench: ShardBench) -> None:
    one, two = (ActiveShard(ShardRef("job", index), InFlight(bench.engine)) for index in range(2))
    with bench.active.entered_isolated(one) as first, bench.active.entered_isolated(two) as second:
        assert (first, second) == (True, False)
    with bench.active.entered_isolated(two) as again:
        assert again


def test_a_worker_that_stops_lets_no_shard_wait_for_isolation(bench: ShardBench) -> None:
    busy, waits = (ActiveShard(ShardRef("job", index), InFlight(bench.engine)) for index in range(2))
    door = bench.active._changed = Door()
    entered = threading.Event()

    def wait_for_isolation() -> None:
        with bench.active.entered_isolated(waits):
            entered.set()

    with bench.active.entered(busy):
        thread = threading.Thread(target=wait_for_isolation)
        thread.start()
        assert door.waits.acquire(timeout=PATIENCE_SECONDS)
        assert not entered.is_set()
        bench.active.stop()
        assert entered.wait(PATIENCE_SECONDS)
    thread.join()


@pytest.mark.slow
def test_of_forty_lines_only_the_one_that_crashes_workers_is_lost(valkey: ValkeyProcess, tmp_path: Path) -> None:
    write_byte_level_tokenizer(tmp_path / "tiny")
    model = write_tiny_checkpoint(tmp_path / "tiny", vocab_size=257)
    cluster = Cluster(valkey, tmp_path.name, model, tmp_path)
    job_id = cluster.submit(40)
    crashes = 0
    while True:
        with cluster.worker_of(("-c", WITH_A_CRASHING_LINE + RUN_WORKER)) as worker:
            while worker.running and not cluster.store.jobs.get(job_id).state.ended:
                threading.Event().wait(0.05)  # neither tells
            if worker.running:
                break
            crashes += 1
            assert crashes <= 5, "two that shared, one isolated, two that ran nothing but the line"
    results = list(cluster.store.jobs.results(job_id))
    assert [line.index for line in results] == list(range(40))
    assert {line.id: line.error.code for line in results if line.error} == {"id-35": ErrorCode.WORKER_LOST}
    job = cluster.store.jobs.get(job_id)
    assert (job.state, job.completed, job.failed) == (JobState.COMPLETED, 39, 1)
