"""A server that restarts, crashes, is full or becomes a replica while workers are busy: they hold what is finished."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from jobs.keys import JobKeys
from testing.environment.full_disk import fill
from testing.processes.cluster import Cluster
from testing.processes.command_line import REPOSITORY, command, qwen_batch, write_jsonl
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey
from tests.trouble.conftest import StartServer

LINES = 150
TROUBLE = "the store is in trouble"
BACK = "the store is back"


@pytest.fixture
def server(start_server: StartServer) -> ValkeyProcess:
    return start_server()


@pytest.fixture
def cluster(server: ValkeyProcess, model_folder: Path, tmp_path: Path) -> Cluster:
    return Cluster(server, "troubled", model_folder, tmp_path)


def wait_until_leases_expire(client: redis.Redis, job_id: str) -> None:
    """Nobody can renew them."""
    leases = JobKeys(job_id).leases
    while client.zcount(leases, "-inf", time.time() * 1000) < client.zcard(leases):
        time.sleep(0.05)  # they end by the server's clock alone


@pytest.mark.slow
@pytest.mark.parametrize("end", [ValkeyProcess.stop, ValkeyProcess.kill], ids=["restarted", "killed"])
def test_a_server_that_goes_away_and_comes_back_loses_nothing_and_a_watcher_is_told(
    cluster: Cluster, end: Callable[[ValkeyProcess], None], plain_environment: dict[str, str]
) -> None:
    environment = plain_environment | {"QWEN_BATCH_REDIS_URL": cluster.valkey.url}
    with cluster.worker(log_level="debug") as worker:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(LINES)
        cluster.wait_until_done(job_id, LINES // 10)
        with subprocess.Popen(
            command("watch", job_id), env=environment, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        ) as watcher:
            assert watcher.stderr is not None
            assert f"/{LINES} lines" in watcher.stderr.readline()
            before = {line.index: line for line in cluster.store.jobs.results(job_id)}
            end(cluster.valkey)
            assert "Trying again" in watcher.stderr.readline()
            worker.wait_for_log(TROUBLE)
            down = qwen_batch("status", job_id, env=environment)
            assert (down.returncode, down.stdout) == (4, "")
            assert down.stderr.startswith(f"Error: Redis at 127.0.0.1:{cluster.valkey.port} refused the connection.")
            cluster.valkey.start()
            assert "The store answers again." in watcher.stderr.readline()
            cluster.wait_until_ended(job_id)
            assert watcher.wait(120) == 0, watcher.stderr.read()
        after = cluster.check_results(job_id, LINES)
        assert all(after[index] == line for index, line in before.items())
        worker.wait_for_log(BACK)
        assert worker.log.count(TROUBLE) == worker.log.count(BACK)
        assert cluster.valkey.password not in worker.log


@pytest.mark.slow
def test_a_full_server_holds_the_work_up_and_says_so_until_it_has_room(
    cluster: Cluster, plain_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = plain_environment | {"QWEN_BATCH_REDIS_URL": cluster.valkey.url}
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "3 + 4 ="}])
    with cluster.worker() as worker, cluster.valkey.client() as client:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(LINES)
        cluster.wait_until_done(job_id, LINES // 10)
        client.config_set("maxmemory", 1)
        worker.wait_for_log("has reached its memory limit and refuses writes")
        full = qwen_batch("submit", prompts, env=environment)
        assert (full.returncode, full.stdout) == (4, "")
        assert "memory limit" in full.stderr and "qwen-batch delete" in full.stderr
        status = qwen_batch("status", job_id, env=environment)
        assert status.returncode == 0 and "in_progress" in status.stdout
        wait_until_leases_expire(client, job_id)
        client.config_set("maxmemory", 0)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, LINES)
        assert "Traceback" not in worker.log


@pytest.mark.slow
def test_a_server_whose_disk_is_full_holds_the_work_up_and_says_so_until_it_has_room(
    small_disk: Callable[[int], Path], model_folder: Path, tmp_path: Path, plain_environment: dict[str, str]
) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "3 + 4 ="}])
    disk = small_disk(20_000)
    with running_valkey(disk, appendonly=True, options=("--appendfsync", "everysec")) as server:
        cluster = Cluster(server, "troubled", model_folder, tmp_path)
        with cluster.worker() as worker:
            worker.wait_until(cluster.store, "idle")
            job_id = cluster.submit(LINES)
            cluster.wait_until_done(job_id, LINES // 10)
            filler = fill(disk)
            worker.wait_for_log("cannot save its data and refuses writes")
            full = qwen_batch("submit", prompts, env=plain_environment | {"QWEN_BATCH_REDIS_URL": server.url})
            assert (full.returncode, full.stdout) == (4, "")
            assert (
                "cannot save its data and refuses writes" in full.stderr
                and "Free space on the server's disk" in full.stderr
            )
            worker.wait_for_log("MISCONF")  # Celery's own connection was refused, too
            filler.unlink()
            cluster.wait_until_ended(job_id)
            cluster.check_results(job_id, LINES)
            assert worker.running and "Traceback" not in worker.log


@pytest.mark.slow
def test_a_primary_that_is_a_replica_for_a_while_is_waited_for(cluster: Cluster) -> None:
    with cluster.worker() as worker, cluster.valkey.client() as client:
        worker.wait_until(cluster.store, "idle")
        job_id = cluster.submit(LINES)
        cluster.wait_until_done(job_id, LINES // 10)
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        worker.wait_for_log("is a read-only replica")
        client.execute_command("REPLICAOF", "NO", "ONE")
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, LINES)
        assert "Traceback" not in worker.log


@pytest.mark.slow
def test_a_worker_that_waits_for_messages_outlives_a_fail_over(cluster: Cluster) -> None:
    with cluster.worker() as worker, cluster.valkey.client() as client:
        worker.wait_until(cluster.store, "idle")
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        worker.wait_for_log("is a read-only replica")
        client.execute_command("REPLICAOF", "NO", "ONE")
        job_id = cluster.submit(LINES)
        cluster.wait_until_ended(job_id)
        cluster.check_results(job_id, LINES)
        assert worker.running and "Traceback" not in worker.log
