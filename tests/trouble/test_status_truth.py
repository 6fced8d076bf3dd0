"""What `workers`, `status` and `watch` show during troubles is never wrong for over two seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.console.progress import POLL_SECONDS
from jobs.records.job import JobState
from testing.environment.tcp_proxy import TcpProxy
from testing.jobs.onlooker import Onlooker, View
from testing.processes.cluster import Cluster
from testing.processes.command_line import REPOSITORY, command, qwen_batch
from testing.processes.valkey import ValkeyProcess, free_port
from testing.processes.worker_under_test import WorkerUnderTest
from tests.trouble.conftest import StartServer
from worker.upkeep.reporter import LIFE_SECONDS

pytestmark = pytest.mark.slow

LIMIT_SECONDS = 2.0
LINES = 1_000  # some ten seconds of work
ALIVE = ("idle", "busy")


@pytest.fixture
def server(start_server: StartServer) -> ValkeyProcess:
    return start_server()


@pytest.fixture
def cluster(server: ValkeyProcess, model_folder: Path, tmp_path: Path) -> Cluster:
    return Cluster(server, "truthful", model_folder, tmp_path)


def started(cluster: Cluster, *workers: WorkerUnderTest) -> str:
    """A job that all of these workers are busy with."""
    for worker in workers:
        worker.wait_until(cluster.store, "idle")
    job_id = cluster.submit(LINES)
    for worker in workers:
        worker.wait_until(cluster.store, "busy")
    cluster.wait_until_done(job_id, 10)
    return job_id


def alive(worker: WorkerUnderTest) -> Callable[[View], bool]:
    return lambda view: view.states.get(worker.pid) in ALIVE


def not_alive(worker: WorkerUnderTest) -> Callable[[View], bool]:
    return lambda view: view.states.get(worker.pid) not in ALIVE


def test_a_killed_worker_is_lost_and_the_other_one_stays(cluster: Cluster) -> None:
    with cluster.worker() as victim, cluster.worker() as survivor:
        job_id = started(cluster, victim, survivor)
        with Onlooker(cluster.valkey.url, job_id) as onlooker:
            victim.kill()
            killed_at = time.monotonic()
            onlooker.wait_for(lambda view: view.states.get(victim.pid) == "lost")
            cluster.wait_until_ended(job_id)
            onlooker.wait_for(lambda view: view.job.state.ended)
        assert onlooker.seconds_wrong(killed_at, alive(victim)) < LIMIT_SECONDS
        assert onlooker.seconds_wrong(killed_at, not_alive(survivor)) < LIMIT_SECONDS
        assert onlooker.counts_never_fell()
        cluster.check_results(job_id, LINES)


@contextmanager
def trouble_of(cluster: Cluster, worker: WorkerUnderTest) -> Iterator[Onlooker]:
    """The block brings trouble over a busy worker and ends it. Then the worker is soon shown alive and does its job."""
    job_id = started(cluster, worker)
    with Onlooker(cluster.valkey.url, job_id) as onlooker:
        yield onlooker
        over_at = time.monotonic()
        onlooker.wait_for(alive(worker))
        cluster.wait_until_ended(job_id)
    assert onlooker.seconds_wrong(over_at, not_alive(worker)) < LIMIT_SECONDS
    assert onlooker.counts_never_fell()
    cluster.check_results(job_id, LINES)


def wait_until_lost(onlooker: Onlooker, worker: WorkerUnderTest) -> None:
    """A worker of which nothing more can be heard from now on is soon shown as lost."""
    silent_since = time.monotonic()
    onlooker.wait_for(lambda view: view.states.get(worker.pid) == "lost")
    assert onlooker.seconds_wrong(silent_since, alive(worker)) < LIMIT_SECONDS


def test_a_frozen_worker_is_lost_until_it_goes_on(cluster: Cluster) -> None:
    with cluster.worker() as worker, trouble_of(cluster, worker) as onlooker:
        worker.send(signal.SIGSTOP)
        wait_until_lost(onlooker, worker)
        worker.send(signal.SIGCONT)


def test_a_worker_behind_a_cut_cable_is_lost_until_it_is_mended(cluster: Cluster) -> None:
    with TcpProxy(cluster.valkey.port) as network:
        far_url = cluster.valkey.url.replace(f":{cluster.valkey.port}/", f":{network.port}/")
        with cluster.worker(redis_url=far_url) as worker, trouble_of(cluster, worker) as onlooker:
            network.cut()
            wait_until_lost(onlooker, worker)
            network.mend()


def test_a_worker_whose_server_is_a_replica_is_lost_until_that_is_a_primary_again(cluster: Cluster) -> None:
    with (
        cluster.worker() as worker,
        cluster.valkey.client() as client,
        trouble_of(cluster, worker) as onlooker,
    ):
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        wait_until_lost(onlooker, worker)
        client.execute_command("REPLICAOF", "NO", "ONE")


def test_a_worker_whose_server_is_full_is_alive_and_its_job_goes_on(cluster: Cluster) -> None:
    with (
        cluster.worker() as worker,
        cluster.valkey.client() as client,
        trouble_of(cluster, worker) as onlooker,
    ):
        client.config_set("maxmemory", 1)
        full_since = time.monotonic()
        worker.wait_for_log("has reached its memory limit")
        time.sleep(LIFE_SECONDS + 2 * LIMIT_SECONDS)  # long enough for a report that expires to show
        assert onlooker.seconds_wrong(full_since, not_alive(worker)) < LIMIT_SECONDS
        assert onlooker.seconds_wrong(full_since, lambda view: view.job.state is not JobState.IN_PROGRESS) == 0
        client.config_set("maxmemory", 0)


def test_a_server_that_comes_back_shows_its_workers_alive(cluster: Cluster) -> None:
    with cluster.worker() as worker, trouble_of(cluster, worker):
        cluster.valkey.kill()
        worker.wait_for_log("the store is in trouble")
        cluster.valkey.start()


def test_a_worker_that_stops_is_gone_and_its_job_waits(cluster: Cluster) -> None:
    with cluster.worker() as worker:
        job_id = started(cluster, worker)
        with Onlooker(cluster.valkey.url, job_id) as onlooker:
            worker.send(signal.SIGTERM)
            stopped_at = time.monotonic()
            onlooker.wait_for(lambda view: worker.pid not in view.states)
            assert worker.exit_code() == 0
        assert onlooker.seconds_wrong(stopped_at, alive(worker)) < LIMIT_SECONDS


def test_a_watcher_of_a_job_whose_last_worker_was_killed_is_told_that_nothing_moves(
    cluster: Cluster, plain_environment: dict[str, str]
) -> None:
    environment = plain_environment | {"QWEN_BATCH_REDIS_URL": cluster.valkey.url}
    with cluster.worker() as worker:
        job_id = started(cluster, worker)
        with subprocess.Popen(
            command("watch", job_id, "--json"), env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as watcher:
            assert watcher.stdout is not None
            assert json.loads(watcher.stdout.readline())["workers"] == 1
            worker.kill()
            killed_at = time.monotonic()
            for line in watcher.stdout:
                update = json.loads(line)
                if update["workers"] == 0:
                    break
            assert time.monotonic() - killed_at < LIMIT_SECONDS + POLL_SECONDS
            assert (update["output_throughput"], update["seconds_left"]) == (None, None)
            watcher.kill()
    status = qwen_batch("status", job_id, env=environment)
    assert "in_progress, no worker serves the model" in " ".join(status.stdout.split())
