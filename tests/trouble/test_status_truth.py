"""What `workers`, `status` and `watch` show during troubles is never wrong for over two seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.progress import POLL_SECONDS
from tests.support.command_line import REPOSITORY, command, qwen_batch
from tests.support.onlooker import Onlooker, View
from tests.support.tcp_proxy import TcpProxy
from tests.support.valkey import ValkeyProcess
from tests.trouble.conftest import StartServer
from tests.worker.cluster import Cluster
from tests.worker.worker_under_test import WorkerUnderTest

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
        assert onlooker.seconds_wrong(killed_at, not_alive(survivor)) == 0
        assert onlooker.counts_never_fell()
        cluster.check_results(job_id, LINES)


def test_a_frozen_worker_is_lost_until_it_goes_on(cluster: Cluster) -> None:
    with cluster.worker() as worker:
        job_id = started(cluster, worker)
        with Onlooker(cluster.valkey.url, job_id) as onlooker:
            worker.send(signal.SIGSTOP)
            frozen_at = time.monotonic()
            onlooker.wait_for(lambda view: view.states.get(worker.pid) == "lost")
            worker.send(signal.SIGCONT)
            thawed_at = time.monotonic()
            onlooker.wait_for(alive(worker))
            cluster.wait_until_ended(job_id)
        assert thawed_at - frozen_at < LIMIT_SECONDS  # it was seen as lost by then
        assert onlooker.seconds_wrong(thawed_at, not_alive(worker)) < LIMIT_SECONDS
        assert onlooker.counts_never_fell()
        cluster.check_results(job_id, LINES)


def test_a_worker_behind_a_cut_cable_is_lost_until_it_is_mended(cluster: Cluster) -> None:
    with TcpProxy(cluster.valkey.port) as network:
        far_url = cluster.valkey.url.replace(f":{cluster.valkey.port}/", f":{network.port}/")
        with cluster.worker(redis_url=far_url) as worker:
            job_id = started(cluster, worker)
            with Onlooker(cluster.valkey.url, job_id) as onlooker:
                network.cut()
                cut_at = time.monotonic()
                onlooker.wait_for(lambda view: view.states.get(worker.pid) == "lost")
                lost_at = time.monotonic()
                network.mend()
                onlooker.wait_for(alive(worker))
                cluster.wait_until_ended(job_id)
            assert lost_at - cut_at < LIMIT_SECONDS
            assert onlooker.seconds_wrong(lost_at, not_alive(worker)) < LIMIT_SECONDS
            assert onlooker.counts_never_fell()
            cluster.check_results(job_id, LINES)


def test_a_server_that_comes_back_shows_its_workers_alive(cluster: Cluster) -> None:
    with cluster.worker() as worker:
        job_id = started(cluster, worker)
        with Onlooker(cluster.valkey.url, job_id) as onlooker:
            cluster.valkey.kill()
            worker.wait_for_log("the store is in trouble")
            cluster.valkey.start()
            back_at = time.monotonic()
            onlooker.wait_for(alive(worker))
            cluster.wait_until_ended(job_id)
        assert onlooker.seconds_wrong(back_at, not_alive(worker)) < LIMIT_SECONDS
        assert onlooker.counts_never_fell()
        cluster.check_results(job_id, LINES)


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
