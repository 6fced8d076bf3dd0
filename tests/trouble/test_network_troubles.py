"""A network that is cut, and a server that moves to another address behind its name."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from testing.environment.tcp_proxy import TcpProxy
from testing.processes.cluster import Cluster, num_tokens
from testing.processes.command_line import REPOSITORY, command
from testing.processes.valkey import ValkeyProcess
from tests.trouble.conftest import StartServer

LINES = 150
MANY_LINES = 500  # seconds of work for two workers


@pytest.fixture
def server(start_server: StartServer) -> ValkeyProcess:
    return start_server()


@pytest.fixture
def cluster(server: ValkeyProcess, model_folder: Path, tmp_path: Path) -> Cluster:
    return Cluster(server, "networked", model_folder, tmp_path)


@pytest.fixture
def network(server: ValkeyProcess) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as proxy:
        yield proxy


def url_through(network: TcpProxy, server: ValkeyProcess) -> str:
    return server.url.replace(f":{server.port}/", f":{network.port}/")


def test_a_watcher_behind_a_cut_cable_is_told_and_goes_on_when_it_is_mended(
    cluster: Cluster, network: TcpProxy, plain_environment: dict[str, str]
) -> None:
    job_id = cluster.submit(20)
    environment = plain_environment | {"QWEN_BATCH_REDIS_URL": url_through(network, cluster.valkey)}
    with subprocess.Popen(
        command("watch", job_id), env=environment, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stderr is not None
        assert "waiting for a worker" in watcher.stderr.readline()
        network.cut()
        assert "does not answer in time. Trying again" in watcher.stderr.readline()
        network.mend()
        assert "The store answers again." in watcher.stderr.readline()
        cluster.store.control.request_cancel(job_id)
        assert watcher.wait(120) == 5


@pytest.mark.slow
def test_a_worker_behind_a_cut_cable_loses_its_shards_and_doubles_nothing_when_it_is_back(
    cluster: Cluster, network: TcpProxy
) -> None:
    far_url = url_through(network, cluster.valkey)
    with cluster.worker(redis_url=far_url) as far, cluster.worker() as near:
        far_id = far.wait_until(cluster.store, "idle").worker_id
        near.wait_until(cluster.store, "idle")
        job_id = cluster.submit(MANY_LINES)
        far.wait_for_log(f"leased: job={job_id}")
        network.cut()
        cluster.wait_until_ended(job_id)  # without it
        results = cluster.check_results(job_id, MANY_LINES)
        network.mend()
        far.wait_for_log(f"lost: job={job_id}")
        back = far.wait_until(cluster.store, "idle")
        assert back.worker_id == far_id
        second = cluster.submit(MANY_LINES)
        far.wait_for_log(f"leased: job={second}")
        cluster.wait_until_ended(second)
        cluster.check_results(second, MANY_LINES)
        assert cluster.check_results(job_id, MANY_LINES) == results
        assert "Traceback" not in far.log + near.log


@pytest.mark.slow
def test_a_cut_shorter_than_a_lease_costs_no_line(cluster: Cluster, network: TcpProxy) -> None:
    with cluster.worker(redis_url=url_through(network, cluster.valkey), lease_ttl_seconds="6") as worker:
        before = worker.wait_until(cluster.store, "idle").output_tokens
        job_id = cluster.submit(LINES)
        cluster.wait_until_done(job_id, LINES // 10)
        network.cut()
        time.sleep(2)  # the length of the cut is what is tested
        network.mend()
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, LINES)
        computed = worker.wait_until(cluster.store, "idle").output_tokens - before
        assert computed == sum(num_tokens(index) for index in range(LINES))


@pytest.mark.slow
def test_a_fail_over_behind_the_same_name_is_followed(
    cluster: Cluster, network: TcpProxy, start_server: StartServer
) -> None:
    primary = cluster.valkey
    with primary.client() as writer:
        writer.config_set("repl-diskless-sync-delay", "0")  # otherwise it waits 5 s for other replicas
    replica = start_server("--replicaof", "127.0.0.1", str(primary.port), "--masterauth", primary.password)
    with replica.client() as successor:
        successor.config_set("requirepass", primary.password)
    replica.password = primary.password
    far_url = url_through(network, primary)
    with (
        cluster.worker(redis_url=far_url) as worker,
        redis.Redis.from_url(primary.url, socket_timeout=90) as writer,
        replica.client() as successor,
    ):
        worker.wait_until(cluster.store, "idle")
        writer.set("replicated", "yes")
        assert writer.wait(1, 60_000) == 1  # the replica follows
        job_id = cluster.submit(LINES)
        cluster.wait_until_done(job_id, LINES // 10)
        primary.kill()
        worker.wait_for_log("the store is in trouble")
        successor.execute_command("REPLICAOF", "NO", "ONE")
        network.point_to(replica.port)
        after = Cluster(replica, cluster.model, Path(cluster.settings["model"]), replica.folder)
        after.wait_until_ended(job_id)
        after.check_results(job_id, LINES)
        assert "Traceback" not in worker.log
        assert "DeprecationWarning" not in worker.log
