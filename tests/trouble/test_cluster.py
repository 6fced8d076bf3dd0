"""A Redis Cluster of three nodes: each job lies on one of them, whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster

from jobs.keys import FORMAT, JobKeys, notification
from jobs.records.job import JobState, ShardRef
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey

SLOTS = 16384
NODES = 3
JOBS = 12  # more than enough for every node to get some


class ClusterClient(RedisCluster):
    """Asks one node for its time, where redis-py would ask all of them: any node's clock decides its own leases."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        target = {"target_nodes": self.get_default_node()} if args[0] == "TIME" else {}
        return super().execute_command(*args, **target, **kwargs)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[ValkeyProcess]]:
    """Three nodes that know each other and share the slots; a node answers when it knows who has which."""
    with ExitStack() as running:
        servers = []
        for number in range(NODES):
            folder = tmp_path / f"node-{number}"
            folder.mkdir()
            bus_port = free_port()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
            server = running.enter_context(running_valkey(folder, options=options))
            servers.append(server)
            with server.client() as node:
                node.config_set("requirepass", servers[0].password)
                server.password = servers[0].password
        for number, server in enumerate(servers):
            with server.client() as node:
                node.execute_command(
                    "CLUSTER", "ADDSLOTSRANGE", SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
                )
                bus_port = int(node.config_get("cluster-port")["cluster-port"])
                with servers[0].client() as first:
                    first.execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, bus_port)
        for server in servers:
            with server.client() as node:
                while "cluster_state:ok" not in str(node.execute_command("CLUSTER", "INFO")):
                    time.sleep(0.02)  # nodes gossip
        yield servers


@pytest.fixture
def client(nodes: list[ValkeyProcess]) -> Iterator[ClusterClient]:
    first = nodes[0]
    with ClusterClient(host="127.0.0.1", port=first.port, password=first.password) as client:
        yield client


def live_through_everything(store: RedisJobStore, job_id: str) -> None:
    """Every script runs: a shard is finished, one given back, one left to expire, the rest cancelled; then a retry."""
    submit(store, new_job(job_id, lines=8))
    leases = [lease for index in range(2) if (lease := store.work.lease(ShardRef(job_id, index), "worker", 60.0))]
    assert len(leases) == 2
    assert store.work.lease(ShardRef(job_id, 2), "worker", 0.001) is not None
    for index, lease in enumerate(leases):
        store.work.renew([lease], 60.0)
        assert store.work.write(lease, [completed(2 * index), failed(2 * index + 1)]) == 2
        assert len(store.work.pending(lease)) == 0
    store.work.finish_shard(leases[0], shard_stats())
    store.work.release(leases[1])
    while ShardRef(job_id, 2) not in store.recovery.recoverable_shards("demo", 1000):
        time.sleep(0.001)  # the short lease ends by the server's clock
    assert store.control.request_cancel(job_id).state is JobState.CANCELLED
    assert len(list(store.jobs.results(job_id))) == 8
    store.jobs.stats(job_id)
    heard = store.work.wait_for_notification("demo", None, 0.001)
    assert store.control.retry(job_id)
    assert store.work.wait_for_notification("demo", heard, 10.0) != heard
    assert store.control.request_cancel(job_id).state.ended


def test_every_script_runs_on_a_cluster_and_jobs_spread_over_its_nodes(client: ClusterClient) -> None:
    store = RedisJobStore(RedisServer(client))  # type: ignore[arg-type]
    names = [f"job-{number}" for number in range(JOBS)]
    for name in names:
        live_through_everything(store, name)
    assert {job.id for job in store.jobs.newest()} == set(names)
    homes = {client.get_node_from_key(JobKeys(name).meta).port for name in names}
    assert len(homes) == NODES
    for name in names:
        store.control.delete(name)
    assert {key.decode() for key in client.scan_iter()} - {notification("demo")} == {FORMAT}
