"""Real workers with a real model, fed by Celery over a real server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.keys import WORKERS, JobKeys, unfinished
from jobs.keys import worker as worker_key
from jobs.queue.celery_app import make_app
from jobs.queue.hints import RUN_SHARD_TASK, queue_name
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import SHARD_SIZE, Cluster, num_tokens
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import RUN_WORKER, WorkerUnderTest
from tests.worker.bad_messages import BROKEN, FOREIGN, JUNK, NO_HINTS

MAX_STOP_SECONDS = 10  # what a container runtime waits; the worker itself sees to it that two are enough

# The real engine over a device that fails at its 50th step.
WITH_A_DYING_DEVICE = """
import itertools
from engine.execution.model_runner import ModelRunner
steps, run = itertools.count(), ModelRunner.run
def failing(self, batch):
    if next(steps) == 50:
        raise RuntimeError("the device fell off the bus")
    return run(self, batch)
ModelRunner.run = failing
"""
WITH_A_BUG_AT_THE_START = """
import worker.start
worker.start.card_of_folder = lambda *_: 1 / 0
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_byte_level_tokenizer(folder)
    return write_tiny_checkpoint(folder, vocab_size=257)


@pytest.fixture(scope="module")
def shared_cluster(valkey: ValkeyProcess, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """For the tests that share a worker: starting one takes seconds."""
    return Cluster(valkey, "shared", model_folder, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def shared_worker(shared_cluster: Cluster) -> Iterator[WorkerUnderTest]:
    with shared_cluster.worker() as worker:
        worker.wait_until(shared_cluster.store, "idle")
        yield worker


@pytest.fixture
def cluster(valkey: ValkeyProcess, model_folder: Path, tmp_path: Path) -> Cluster:
    """For a test with workers of its own, which serve the model under a name of its own."""
    return Cluster(valkey, tmp_path.name, model_folder, tmp_path)


def test_a_job_runs_from_the_queue_to_its_results(
    shared_cluster: Cluster, shared_worker: WorkerUnderTest, cpu_device: str
) -> None:
    cluster = shared_cluster
    job_id = cluster.submit(60)
    cluster.wait_until_ended(job_id)
    results = cluster.check_results(job_id, 60)
    assert all(result.usage is not None and result.latency is not None for result in results)
    stats = cluster.store.jobs.stats(job_id)
    (share,) = stats.workers
    assert (share.device, share.dtype, share.compiled) == (cpu_device, "float32", False)
    assert share.output_tokens == stats.total_output_tokens
    assert stats.decode_seconds > 0 and stats.mean_batch_size is not None and stats.mean_batch_size > 1
    assert share.peak_memory_bytes > 50 * 2**20


def test_one_message_is_enough_for_all_shards_that_wait(cluster: Cluster) -> None:
    with cluster.worker(sweep_seconds="600") as worker:  # nobody else would hint the others
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(60, num_hints=1)
        cluster.wait_until_ended(job_id)
    cluster.check_results(job_id, 60)


def test_damaged_records_are_logged_once_each_and_cost_no_other_job_anything(cluster: Cluster) -> None:
    """A worker searches for lost shards three times per second, and for the next shard twenty times."""
    with cluster.valkey.client() as client:
        client.zadd(unfinished(cluster.model), {b"\xff\xfe": -1.0, "job-bad": -1.0})
        client.hset(JobKeys("job-bad").meta, mapping={"spec": b"{bad", "state": "queued"})
        client.set(worker_key("x"), b"{bad")
        client.zadd(WORKERS, {"x": 1.0})
    with cluster.worker() as worker:
        worker.wait_until(cluster.store, "idle")
        jobs = [cluster.submit(40), cluster.submit(40)]
        for job_id in jobs:
            cluster.wait_until_ended(job_id)
            cluster.check_results(job_id, 40)
        worker.wait_for_log(JobKeys("job-bad").meta)
        log = worker.log
    assert "Traceback" not in log
    assert (log.count(JobKeys("job-bad").meta), log.count(f"{unfinished(cluster.model)}, entry")) == (1, 1)


def test_a_worker_announces_itself_and_its_model(
    shared_cluster: Cluster, shared_worker: WorkerUnderTest, cpu_device: str
) -> None:
    report = shared_worker.wait_until(shared_cluster.store, "idle")
    assert (report.model, report.device, report.dtype, report.jobs) == ("shared", cpu_device, "float32", ())
    card = shared_cluster.store.fleet.model("shared")
    assert card is not None
    assert (card.vocab_size, card.max_model_len, card.has_chat_template) == (257, 512, False)
    assert f"ready: model=shared queue=qwen-batch.shared device={cpu_device} " in shared_worker.log
    assert shared_cluster.valkey.password not in shared_worker.log


def test_messages_that_are_no_hints_are_refused_and_good_work_goes_on(
    shared_cluster: Cluster, shared_worker: WorkerUnderTest
) -> None:
    cluster, queue = shared_cluster, queue_name("shared")
    app = make_app(cluster.valkey.url)
    for args, kwargs in NO_HINTS:
        app.send_task(RUN_SHARD_TASK, args, kwargs, queue=queue)
    with cluster.valkey.client() as client:
        for message in [BROKEN, *JUNK, *FOREIGN]:
            client.lpush(queue, message)
        job_id = cluster.submit(20)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 20)
        refused = len(NO_HINTS) + len([BROKEN, *JUNK, *FOREIGN])
        shared_worker.wait_for_log("refused a message on the queue (1 so far)")
        shared_worker.wait_for_report(cluster.store, lambda report: report.refused_messages == refused)


def test_a_small_job_behind_a_huge_one_is_done_long_before_it(
    shared_cluster: Cluster, shared_worker: WorkerUnderTest, record_property: Callable[[str, object], None]
) -> None:
    cluster = shared_cluster

    huge = cluster.submit(2000)
    before = cluster.wait_until_done(huge, 50).done
    small = cluster.submit(10)
    job = cluster.wait_until_ended(small)
    after = cluster.store.jobs.get(huge).done
    cluster.check_results(small, 10)
    cluster.store.control.request_cancel(huge)
    cluster.wait_until_ended(huge)
    assert job.first_step_at is not None and job.ended_at is not None
    record_property("seconds", {"start": job.first_step_at - job.spec.created_at, "lines": after - before})
    assert after - before < 1_000  # its lines wait only behind those that the engine had already


def test_sigterm_hands_over_soon_and_no_finished_line_is_redone(cluster: Cluster) -> None:
    with cluster.worker() as first:
        started = first.wait_until(cluster.store, "idle")
        job_id = cluster.submit(100)
        cluster.wait_until_done(job_id, 10)
        began = time.monotonic()
        first.send(signal.SIGTERM)
        assert first.exit_code() == 0, first.log
        assert time.monotonic() - began < MAX_STOP_SECONDS
    assert started.worker_id not in {report.worker_id for report in cluster.store.fleet.workers()}
    before = list(cluster.store.jobs.results(job_id))
    assert 10 <= cluster.store.jobs.get(job_id).done == len(before) < 100
    assert "Traceback" not in first.log
    with cluster.worker() as second:
        report = second.wait_until(cluster.store, "idle", "busy")
        cluster.wait_until_ended(job_id)
    after = cluster.check_results(job_id, 100)
    assert [after[result.index] for result in before] == before
    computed = sum(num_tokens(index) for index in range(100)) - sum(num_tokens(line.index) for line in before)
    shares = {share.worker_id: share.output_tokens for share in cluster.store.jobs.stats(job_id).workers}
    assert shares[report.worker_id] == computed


def test_a_worker_that_drains_finishes_its_shards_and_leaves_the_others(cluster: Cluster) -> None:
    with cluster.worker(drain="true", max_num_seqs="16") as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(400)
        cluster.wait_until_done(job_id, 10)
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.log
        assert "draining: finishing the current shards first" in worker.log
        assert "handed back: job=" not in worker.log
    job = cluster.store.jobs.get(job_id)
    assert 10 < job.done < 400
    assert job.done == SHARD_SIZE * job.shards_done
    assert worker.pid not in {report.pid for report in cluster.store.fleet.workers()}


def test_a_second_signal_ends_the_worker_at_once(cluster: Cluster) -> None:
    with cluster.worker(drain="true", lease_ttl_seconds="60") as worker:
        worker.wait_until(cluster.store, "idle")
        cluster.submit(500)
        worker.wait_for_log("leased: ")
        with cluster.frozen_server():  # so that the orderly stop has no end within the lease of 60 s
            worker.send(signal.SIGTERM)
            worker.wait_for_log("draining")
            worker.send(signal.SIGTERM)
            assert worker.exit_code() == 128 + signal.SIGTERM


def test_a_killed_workers_shards_are_finished_by_another_and_each_line_is_there_once(cluster: Cluster) -> None:
    with cluster.worker() as victim, cluster.worker() as survivor:
        victim.wait_until(cluster.store, "idle")
        survivor.wait_until(cluster.store, "idle")
        job_id = cluster.submit(240)
        victim.wait_for_log("leased: ")
        survivor.wait_for_log("leased: ")
        cluster.wait_until_done(job_id, 50)
        victim.kill()
        done = cluster.store.jobs.get(job_id).done
        assert done < 240
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 240)
        assert cluster.store.jobs.stats(job_id).retried_shards > 0


def test_a_model_that_cannot_be_used_is_one_clear_message_and_exit_code_2(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    write_byte_level_tokenizer(folder)
    write_tiny_checkpoint(folder, vocab_size=257)
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with cluster.worker(model=str(folder)) as worker:
        assert worker.exit_code() == 2
        assert "Error: " in worker.log and "model.safetensors" in worker.log
        assert "Traceback" not in worker.log
        assert worker.pid not in {report.pid for report in cluster.store.fleet.workers()}


def test_an_engine_that_dies_ends_the_worker_at_once_with_an_exit_code(cluster: Cluster) -> None:
    with cluster.worker_of(("-c", WITH_A_DYING_DEVICE + RUN_WORKER)) as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(20)
        assert worker.exit_code() == 1
        assert "the engine has died, the worker ends" in worker.log
        assert "the device fell off the bus" in worker.log
    with cluster.worker():
        cluster.wait_until_ended(job_id)
    cluster.check_results(job_id, 20)


def test_a_bug_at_the_start_ends_the_worker_too(cluster: Cluster) -> None:
    with cluster.worker_of(("-c", WITH_A_BUG_AT_THE_START + RUN_WORKER)) as worker:
        assert worker.exit_code() == 7
        assert "the worker cannot start" in worker.log and "Traceback" in worker.log
        assert worker.log.splitlines()[-2].endswith("ZeroDivisionError: division by zero")


def test_a_server_that_is_not_there_is_one_clear_message_and_exit_code_4(cluster: Cluster) -> None:
    with cluster.worker(redis_url="redis://:secret@127.0.0.1:1/0") as worker:
        assert worker.exit_code() == 4
        assert "Error: Redis at 127.0.0.1:1 refused the connection." in worker.log
        assert "Traceback" not in worker.log and "secret" not in worker.log


def test_celerys_own_command_starts_the_same_worker(cluster: Cluster) -> None:
    command = ("-m", "celery", "-A", "worker.app", "worker", "--pool", "threads", "--loglevel", "INFO")
    with cluster.worker_of(command) as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(30)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, 30)
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.log
        assert time.monotonic() - began < MAX_STOP_SECONDS
        assert cluster.valkey.password not in worker.log
