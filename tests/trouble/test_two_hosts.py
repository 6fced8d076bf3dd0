"""Server, workers and client on hosts of their own, with the kernel's network between them: a link of it goes down."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testing.environment.network_namespaces import Host, can_make_hosts, hosts_on_one_switch
from testing.processes.cluster import NUM_TEXTS, Cluster, num_tokens
from testing.processes.command_line import qwen_batch, write_jsonl
from testing.processes.valkey import running_valkey
from tests.conftest import require

LINES = 500  # seconds of work for two workers
CUT_SECONDS = 20
PATIENCE_SECONDS = 60  # a connection that was cut tries again ever more seldom

Client = Callable[..., str]


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    require(can_make_hosts(), "needs root and `ip` of iproute2 to make network namespaces")
    with hosts_on_one_switch("server", "near", "far", "client") as hosts:
        yield hosts


@pytest.fixture
def cluster(hosts: dict[str, Host], model_folder: Path, tmp_path: Path) -> Iterator[Cluster]:
    host = hosts["server"]
    with running_valkey(tmp_path, appendonly=True, address=host.address, prefix=host.prefix) as server:
        yield Cluster(server, "two-hosts", model_folder, tmp_path)


@pytest.fixture
def client(hosts: dict[str, Host], cluster: Cluster, plain_environment: dict[str, str]) -> Client:
    """Runs a command on the client's host and returns its stdout."""
    env = plain_environment | {"QWEN_BATCH_REDIS_URL": cluster.valkey.url, "QWEN_BATCH_MODEL": cluster.model}

    def run(*words: str | Path) -> str:
        done = qwen_batch(*words, env=env, prefix=hosts["client"].prefix)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """What `Cluster.submit` stores, as a file."""
    lines = [
        {"id": f"id-{index}", "prompt": f"What is {index % NUM_TEXTS}?", "max_tokens": num_tokens(index)}
        | {"temperature": 0, "ignore_eos": True}
        for index in range(LINES)
    ]
    return write_jsonl(tmp_path / "prompts.jsonl", lines)


def check_status(client: Client, cluster: Cluster, job_id: str) -> None:
    """The client is told what the store holds: while it asks, lines may only be added."""
    before = cluster.store.jobs.get(job_id).completed
    shown = json.loads(client("status", job_id, "--json"))
    assert before <= shown["completed"] <= cluster.store.jobs.get(job_id).completed
    assert (shown["total"], shown["failed"]) == (LINES, 0)
    assert shown["state"] == ("completed" if shown["completed"] == LINES else "in_progress")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_whose_link_is_down_for_20_seconds_loses_and_doubles_nothing_and_works_again(
    hosts: dict[str, Host], cluster: Cluster, client: Client, prompts: Path
) -> None:
    with cluster.worker(prefix=hosts["far"].prefix) as far, cluster.worker(prefix=hosts["near"].prefix) as near:
        for worker in (far, near):
            worker.wait_until(cluster.store, "idle")
        job_id = client("submit", prompts)
        far.wait_for_log(f"leased: job={job_id}")
        with hosts["far"].cut_off():
            mended_at = time.monotonic() + CUT_SECONDS
            assert cluster.store.jobs.get(job_id).done < LINES
            check_status(client, cluster, job_id)
            far.wait_for_log("the store is in trouble")
            time.sleep(max(0.0, mended_at - time.monotonic()))  # the length of the cut is what is tested
            check_status(client, cluster, job_id)
        cluster.wait_until_ended(job_id)
        results = cluster.check_results(job_id, LINES)
        lines = [json.loads(line) for line in client("results", job_id).splitlines()]
        assert [line["id"] for line in lines] == [f"id-{index}" for index in range(LINES)]
        assert json.loads(client("status", job_id, "--json"))["retried_shards"] > 0
        far.wait_for_log(f"lost: job={job_id}", PATIENCE_SECONDS)
        far.wait_for_log("the store is back", PATIENCE_SECONDS)
        near.send(signal.SIGTERM)  # what comes now is for the far one alone
        assert near.exit_code() == 0
        second = client("submit", prompts, "--new")
        far.wait_for_log(f"leased: job={second}", PATIENCE_SECONDS)
        cluster.wait_until_ended(second)
        cluster.check_results(second, LINES)
        assert cluster.check_results(job_id, LINES) == results
        assert "Traceback" not in far.log + near.log
