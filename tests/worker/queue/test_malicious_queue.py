"""Ten thousand malicious messages on the queue of a real worker."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.queue.hints import queue_name
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster
from testing.processes.command_line import environment, qwen_batch
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import WorkerUnderTest
from tests.worker.queue.malicious_messages import malicious_messages

MESSAGES = 10_000


@pytest.fixture
def cluster(valkey: ValkeyProcess, tmp_path: Path) -> Cluster:
    folder = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "tiny"), vocab_size=257)
    return Cluster(valkey, tmp_path.name, folder, tmp_path)


@pytest.fixture
def worker(cluster: Cluster) -> Iterator[WorkerUnderTest]:
    with cluster.worker() as worker:
        worker.wait_until(cluster.store, "idle")
        yield worker


@pytest.mark.slow
def test_no_worker_dies_of_malicious_messages_and_good_work_goes_on(
    cluster: Cluster, worker: WorkerUnderTest, tmp_path: Path
) -> None:
    evidence = tmp_path / "unpickled"
    items = list(malicious_messages(MESSAGES, random.Random(11), evidence))
    with cluster.valkey.client() as client:
        first = cluster.submit(60)
        for start in range(0, MESSAGES, 500):
            client.lpush(queue_name(cluster.model), *items[start : start + 500])
        second = cluster.submit(60)
        cluster.wait_until_ended(first)
        cluster.wait_until_ended(second)
        for job_id in (first, second):
            cluster.check_results(job_id, 60)
        refused = worker.wait_for_report(cluster.store, lambda report: report.refused_messages == MESSAGES)
        third = cluster.submit(60)
        cluster.wait_until_ended(third)
    shown = qwen_batch("workers", "--json", "--redis-url", cluster.valkey.url, env=environment(tmp_path))
    counts = {report["pid"]: report["refused_messages"] for report in json.loads(shown.stdout)}
    assert counts[worker.pid] == MESSAGES
    assert refused.peak_memory_bytes < 1.5 * 2**30
    assert not evidence.exists()
    assert "Traceback" not in worker.log and "\x1b" not in worker.log
    assert len(worker.log.splitlines()) < 200


@pytest.mark.slow
def test_a_queue_whose_keys_another_program_took_is_told_and_used_again_when_they_are_free(cluster: Cluster) -> None:
    queue = queue_name(cluster.model)
    keys = [queue, f"_kombu.binding.{queue}"]
    with cluster.valkey.client() as client:
        for key in keys:
            client.set(key, "something else")
        with cluster.worker() as worker:
            worker.wait_until(cluster.store, "idle")
            worker.wait_for_log("another program uses one of its keys")
            client.delete(*keys)
            cluster.wait_until_ended(cluster.submit(10))
            client.delete(queue)
            client.set(queue, "something else")
            worker.wait_for_report(cluster.store, lambda report: report.state == "idle")
            client.delete(queue)
            cluster.wait_until_ended(cluster.submit(10))
            assert "Traceback" not in worker.log
