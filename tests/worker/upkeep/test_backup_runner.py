"""Workers with nothing to do run the pending lines of slow shards a second time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.records.job import JobState, LeaseStatus
from jobs.stores.protocol import JobStore
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import SHARD_SIZE, Cluster
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import RUN_WORKER
from tests.worker.shard_bench import PATIENCE_SECONDS, Running, ShardBench, prompts
from worker.shards.shard_runner import Outcome
from worker.upkeep.backup_runner import BackupRunner

LINES = 6

# The real worker, on a device that takes a fifth of a second for every step.
ON_A_SLOW_DEVICE = """
import time
from engine.execution.model_runner import ModelRunner
run = ModelRunner.run
def slowly(self, batch):
    time.sleep(0.2)
    return run(self, batch)
ModelRunner.run = slowly
"""


@pytest.fixture
def idle(store: JobStore) -> Iterator[ShardBench]:
    with ShardBench(store) as bench:
        yield bench


@pytest.fixture
def slow(bench: ShardBench, idle: ShardBench) -> Running:
    """`bench` runs the second of two shards and gets nowhere; `idle` has finished the first one."""
    quick, _ = bench.add_job(prompts(LINES), shard_size=LINES // 2)
    bench.engine.hold()
    assert idle.runner.run(quick) is Outcome.FINISHED
    second = bench.start(quick)
    bench.engine.wait_for_submitted(LINES // 2)
    wait_until_slow(bench)
    return second


@pytest.fixture
def backup(idle: ShardBench, slow: Running) -> Iterator[BackupRunner]:
    """`idle` runs all lines of the slow shard as well, and its engine holds them."""
    idle.engine.hold()
    runner = BackupRunner(idle.runner, idle.active, on_death=lambda _: None, min_seconds=0.0)
    runner.start()
    idle.engine.wait_for_submitted(LINES)
    yield runner
    idle.active.stop()
    runner.stop()


def wait_until_slow(bench: ShardBench) -> None:
    """Until the store would let somebody back it up."""
    while (lease := bench.real_store.work.try_backup(bench.facts.model, "somebody", 0.001, 0.0)) is None:
        time.sleep(0.001)  # only the store's clock tells
    while bench.real_store.work.renew([lease], 0.001) != [LeaseStatus.LOST]:
        bench.real_store.work.release(lease)


def test_an_idle_worker_finishes_a_slow_shard_and_its_holder_is_told(
    bench: ShardBench, idle: ShardBench, slow: Running
) -> None:
    assert idle.runner.run_backup(0.0) is Outcome.FINISHED
    job = bench.job()
    assert (job.state, job.completed, job.failed) == (JobState.COMPLETED, LINES, 0)
    assert bench.texts() == [f"p{line}"[::-1] for line in range(LINES)]
    assert slow.outcome() is Outcome.LOST
    assert len(bench.engine.aborted) == LINES // 2


def test_only_lines_without_a_result_are_run_a_second_time(bench: ShardBench, idle: ShardBench, slow: Running) -> None:
    bench.engine.finish(1)
    bench.wait_until_done(LINES // 2 + 1)
    assert idle.runner.run_backup(0.0) is Outcome.FINISHED
    assert len(idle.engine.submitted) == LINES - 1
    assert bench.job().completed == len(bench.results()) == LINES


@pytest.mark.usefixtures("backup")
def test_a_holder_that_is_faster_ends_the_backup(bench: ShardBench, idle: ShardBench, slow: Running) -> None:
    bench.engine.finish_from_now_on()
    assert slow.outcome() is Outcome.FINISHED
    idle.engine.wait_for_aborted(LINES // 2)
    assert idle.active.wait_until_idle(PATIENCE_SECONDS)
    assert bench.job().completed == len(bench.results()) == LINES


def test_a_worker_that_stops_leaves_the_shard_to_its_holder(
    bench: ShardBench, idle: ShardBench, slow: Running, backup: BackupRunner
) -> None:
    idle.active.stop()
    assert idle.active.wait_until_idle(PATIENCE_SECONDS)
    backup.stop()
    assert idle.hints.sent == []
    bench.engine.finish_from_now_on()
    assert slow.outcome() is Outcome.FINISHED


def test_a_backup_of_a_cancelled_job_leaves_the_shard_to_its_holder(
    bench: ShardBench, idle: ShardBench, slow: Running
) -> None:
    """Only the holder knows which of its lines are finished and not stored yet."""
    bench.keeper.stop()  # the holder hears of the cancellation later
    idle.engine.hold()
    second = Running(lambda: idle.runner.run_backup(0.0))
    idle.engine.wait_for_submitted(LINES)
    bench.real_store.control.request_cancel("job")
    idle.keeper.renew_all()
    assert second.outcome() is Outcome.LEFT_TO_HOLDER
    assert bench.job().state is JobState.IN_PROGRESS
    bench.engine.finish(1)
    bench.wait_until_done(LINES // 2 + 1)
    bench.keeper.renew_all()
    assert slow.outcome() is Outcome.CANCELLED
    job = bench.job()
    assert (job.state, job.completed, job.failed) == (JobState.CANCELLED, LINES // 2 + 1, LINES // 2 - 1)


def test_a_worker_with_work_of_its_own_runs_nothing_a_second_time(
    bench: ShardBench, idle: ShardBench, slow: Running
) -> None:
    idle.engine.hold()
    (own,) = idle.add_job(prompts(1), job_id="own")
    busy = idle.start(own)
    idle.engine.wait_for_submitted(LINES // 2 + 1)
    BackupRunner(idle.runner, idle.active, on_death=lambda _: None, min_seconds=0.0).run_backups()
    assert len(idle.engine.submitted) == LINES // 2 + 1
    idle.engine.finish_from_now_on()
    bench.engine.finish_from_now_on()
    assert {busy.outcome(), slow.outcome()} == {Outcome.FINISHED}


@pytest.mark.slow
def test_the_last_shards_of_a_slow_worker_are_finished_by_a_fast_one(
    empty_valkey: ValkeyProcess, tmp_path: Path
) -> None:
    """Alone, the slow one would take minutes for what it holds."""
    model = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "tiny"), vocab_size=257)
    cluster, lines = Cluster(empty_valkey, "uneven", model, tmp_path), 12 * SHARD_SIZE
    with cluster.worker_of(("-c", ON_A_SLOW_DEVICE + RUN_WORKER)) as slow, cluster.worker() as fast:
        for worker in (slow, fast):
            worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(lines)
        slow.wait_for_log(f"leased: job={job_id}")
        cluster.wait_until_ended(job_id, timeout_seconds=120)
        fast.wait_for_log(f"backing up: job={job_id}")
        slow.wait_for_log(f"lost: job={job_id}")
        cluster.check_results(job_id, lines)
        assert "Traceback" not in slow.log + fast.log
