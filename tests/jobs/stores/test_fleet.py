"""Workers, models, timelines and remembered runs, on every store."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import redis

from jobs import keys
from jobs.errors import JobNotFound, StoreFull
from jobs.records.model_card import ModelCard
from jobs.records.sampling import SamplingSettings
from jobs.records.shard_stats import TimelineSample
from jobs.records.worker_report import LOST_SECONDS
from jobs.stores.connect import redis_client
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import new_job, submit, worker_report
from testing.processes.valkey import running_valkey
from tests.jobs.stores.conftest import StoreUnderTest, memory_under_test, redis_under_test

CARD = ModelCard("demo", vocab_size=512, max_model_len=1024, has_chat_template=True)


def test_workers_are_listed_by_model_host_and_pid(store: JobStore) -> None:
    for worker_id, host, model in (("w-1", "b", "demo"), ("w-2", "a", "other"), ("w-3", "a", "demo")):
        store.fleet.report_worker(worker_report(worker_id, host=host, model=model), 60)
    assert [report.worker_id for report in store.fleet.workers()] == ["w-3", "w-1", "w-2"]


def test_a_later_report_replaces_the_earlier_one(store: JobStore) -> None:
    store.fleet.report_worker(worker_report(), 60)
    later = msgspec.structs.replace(worker_report(), state="busy", running=3, jobs=("job-1",))
    store.fleet.report_worker(later, 60)
    assert store.fleet.workers() == [later]


def test_a_lost_worker_disappears(under_test: StoreUnderTest) -> None:
    under_test.store.fleet.report_worker(worker_report("lost"), under_test.ttl_seconds)
    under_test.store.fleet.report_worker(worker_report("alive"), 60)
    under_test.let_pass(under_test.ttl_seconds)
    for _ in range(2):
        assert [report.worker_id for report in under_test.store.fleet.workers()] == ["alive"]


def test_a_lost_worker_is_remembered_with_its_last_report(under_test: StoreUnderTest) -> None:
    store, last = under_test.store, worker_report("lost")
    store.fleet.report_worker(last, under_test.ttl_seconds)
    store.fleet.report_worker(worker_report("alive"), 60)
    assert store.fleet.lost_workers() == []
    under_test.let_pass(under_test.ttl_seconds)
    (lost,) = store.fleet.lost_workers()
    assert lost == msgspec.structs.replace(last, state="lost", output_throughput=0.0)
    store.fleet.report_worker(last, 60)  # it was only cut off
    assert store.fleet.lost_workers() == []
    store.fleet.report_worker(last, under_test.ttl_seconds)
    under_test.let_pass(under_test.ttl_seconds)
    store.fleet.forget_worker("lost")
    assert store.fleet.lost_workers() == []


def test_a_lost_worker_is_forgotten_after_a_while() -> None:
    under_test = memory_under_test()
    under_test.store.fleet.report_worker(worker_report(), 5)
    under_test.let_pass(5 + LOST_SECONDS)
    assert under_test.store.fleet.lost_workers() == []


def test_the_server_forgets_a_lost_worker_by_itself(client: redis.Redis) -> None:
    redis_under_test(client).store.fleet.report_worker(worker_report(), 5)
    assert 0 < client.pttl(keys.worker("worker-1")) <= (5 + LOST_SECONDS) * 1000


def test_a_worker_that_stops_in_an_orderly_way_is_forgotten_at_once(store: JobStore) -> None:
    store.fleet.report_worker(worker_report(), 60)
    store.fleet.forget_worker("worker-1")
    store.fleet.forget_worker("never heard of")
    assert store.fleet.workers() == []


def test_a_served_model_is_known_to_clients(store: JobStore) -> None:
    assert store.fleet.model("demo") is None
    store.fleet.publish_model(CARD)
    assert store.fleet.model("demo") == CARD
    newer = msgspec.structs.replace(CARD, defaults=SamplingSettings(temperature=0.6, top_k=20))
    store.fleet.publish_model(newer)
    assert store.fleet.model("demo") == newer


def test_timeline_samples_come_oldest_first_and_go_with_the_job(under_test: StoreUnderTest) -> None:
    store = under_test.store
    submit(store, new_job(lines=0))
    samples = [TimelineSample(under_test.now() + n, "worker-1", 100.0 * n, n, 0.5) for n in range(3)]
    for sample in samples:
        store.fleet.add_timeline("job-1", sample)
    assert store.jobs.timeline("job-1") == samples
    store.control.delete("job-1")
    store.fleet.add_timeline("job-1", samples[0])
    with pytest.raises(JobNotFound):
        store.jobs.timeline("job-1")


def test_a_run_is_remembered_as_long_as_its_job_exists(store: JobStore) -> None:
    assert store.submissions.find_run("fingerprint") is None
    for name in ("job-1", "job-2"):
        submit(store, new_job(name, lines=0))
        store.submissions.remember_run("fingerprint", name)
    assert store.submissions.find_run("fingerprint") == "job-2"
    store.control.delete("job-1")
    assert store.submissions.find_run("fingerprint") == "job-2"
    store.control.delete("job-2")
    assert store.submissions.find_run("fingerprint") is None


def test_a_run_of_no_job_is_not_remembered(store: JobStore) -> None:
    with pytest.raises(JobNotFound):
        store.submissions.remember_run("fingerprint", "nope")
    assert store.submissions.find_run("fingerprint") is None


def test_a_full_server_refuses_a_report_and_still_shows_its_worker_alive(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server, redis_client(server.url) as client:
        store = RedisJobStore(RedisServer(client))
        store.fleet.report_worker(worker_report(), 0.001)
        while not store.fleet.lost_workers():
            pass  # until the server's clock has moved on
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            store.fleet.report_worker(worker_report(), 60)
        assert (store.fleet.workers(), store.fleet.lost_workers()) == ([worker_report()], [])
