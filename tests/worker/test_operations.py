"""What an operator sees of a worker: its log as JSON, its metrics, and whether it is alive."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster
from testing.processes.command_line import environment, qwen_batch
from testing.processes.valkey import ValkeyProcess, free_port


@pytest.fixture
def cluster(valkey: ValkeyProcess, tmp_path: Path) -> Cluster:
    folder = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "tiny"), vocab_size=257)
    return Cluster(valkey, tmp_path.name, folder, tmp_path)


def test_a_worker_can_be_watched_by_machines(cluster: Cluster, tmp_path: Path) -> None:
    env = environment(tmp_path, QWEN_BATCH_REDIS_URL=cluster.valkey.url, QWEN_BATCH_MODEL=cluster.model)
    dead = qwen_batch("worker", "--health", env=env)
    assert (dead.returncode, dead.stdout) == (1, "")
    assert "No worker on" in dead.stderr

    port = free_port()
    with cluster.worker(log_format="json", metrics_port=str(port)) as worker:
        report = worker.wait_until(cluster.store, "idle")
        alive = qwen_batch("worker", "--health", env=env)
        assert (alive.returncode, alive.stdout) == (0, f"{report.worker_id} idle\n")

        job_id = cluster.submit(20)
        cluster.wait_until_ended(job_id)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            scraped = answer.read().decode()
        assert f'vllm:request_success_total{{model_name="{cluster.model}",finished_reason="length"}} 20' in scraped
        assert f'qwen_batch:ready{{model_name="{cluster.model}"}} 1' in scraped
        assert f'qwen_batch:device_info{{model_name="{cluster.model}",device="cpu' in scraped

        worker.wait_for_log("finished: job=")
        lines = [json.loads(line) for line in worker.log.splitlines()]
        assert {line["worker"] for line in lines} == {report.worker_id}
        assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
        leased = [line for line in lines if line["message"].startswith("leased")]
        assert {(line["job"], line["shard"]) for line in leased} == {(job_id, 0), (job_id, 1)}


def test_a_port_that_is_taken_is_one_clear_message_and_exit_code_2(cluster: Cluster) -> None:
    with cluster.worker(metrics_port=str(cluster.valkey.port)) as worker:
        assert worker.exit_code() == 2
        assert f"Metrics cannot be served on port {cluster.valkey.port}" in worker.log
        assert "Traceback" not in worker.log
