"""Workers that wait for a notification wake up when a client gives a job shards to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from jobs.errors import StoreUnavailable
from jobs.records.job import ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.connect import redis_client
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import failed, new_job, shard_stats, submit
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey

AT_ONCE = 0.001
LONG = 10.0  # no test waits for so long

Act = Callable[[JobStore], object]


def end_with_a_failed_line(store: JobStore) -> None:
    submit(store, new_job(lines=1))
    lease = store.work.lease(ShardRef("job-1", 0), "worker", LONG)
    assert lease is not None
    store.work.write(lease, [failed(0)])
    store.work.finish_shard(lease, shard_stats())


def prepare_nothing(store: JobStore) -> None:
    """The job comes new."""


def pause(store: JobStore) -> None:
    submit(store, new_job(lines=1))
    store.control.pause("job-1")


def extend(store: JobStore) -> None:
    store.submissions.extend(store.jobs.get("job-1").spec, [[Prompt(index=1, id="more", text="More?")]])


WORK = {
    "open": (prepare_nothing, lambda store: submit(store, new_job(lines=1))),
    "extend": (lambda store: submit(store, new_job(lines=1)), extend),
    "resume": (pause, lambda store: store.control.resume("job-1")),
    "retry": (end_with_a_failed_line, lambda store: store.control.retry("job-1")),
}


@pytest.mark.parametrize(("before", "act"), WORK.values(), ids=WORK)
def test_whoever_waits_hears_of_it_once(store: JobStore, before: Act, act: Act) -> None:
    before(store)
    since = store.work.wait_for_notification("demo", None, AT_ONCE)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.work.wait_for_notification, "demo", since, LONG)
        act(store)
        heard = waiting.result(120)
    assert heard != since
    assert store.work.wait_for_notification("demo", heard, AT_ONCE) == heard


@pytest.mark.parametrize(("before", "act"), WORK.values(), ids=WORK)
def test_a_notification_that_came_before_the_wait_is_not_missed(store: JobStore, before: Act, act: Act) -> None:
    before(store)
    since = store.work.wait_for_notification("demo", None, AT_ONCE)
    act(store)
    assert store.work.wait_for_notification("demo", since, LONG) != since


def test_other_models_and_jobs_without_lines_send_no_notification(store: JobStore) -> None:
    submit(store, new_job(lines=1, model="other"))
    submit(store, new_job("empty", lines=0))
    assert store.work.wait_for_notification("demo", None, AT_ONCE) is None


@pytest.mark.parametrize("protocol", [2, 3])
def test_notifications_are_read_in_both_protocols(valkey: ValkeyProcess, client: redis.Redis, protocol: int) -> None:
    submit(RedisJobStore(RedisServer(client)), new_job(lines=1))
    with redis_client(f"{valkey.url}?protocol={protocol}") as other:
        store = RedisJobStore(RedisServer(other))
        heard = store.work.wait_for_notification("demo", None, LONG)
        assert heard is not None and store.work.wait_for_notification("demo", heard, AT_ONCE) == heard


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyProcess]:
    """One that a test may trouble."""
    with running_valkey(tmp_path) as server:
        yield server


def test_a_server_that_has_become_full_keeps_no_notification(server: ValkeyProcess) -> None:
    with redis_client(server.url) as client:
        client.config_set("maxmemory", 1)
        JobIndex(RedisServer(client)).notify(new_job())
        assert RedisJobStore(RedisServer(client)).work.wait_for_notification("demo", None, AT_ONCE) is None


def test_whoever_waits_is_told_that_the_server_becomes_a_replica(server: ValkeyProcess) -> None:
    with redis_client(server.url) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(RedisJobStore(RedisServer(client)).work.wait_for_notification, "demo", None, LONG)
        while client.info("clients")["blocked_clients"] == 0:
            pass  # until it waits
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(StoreUnavailable, match="read-only replica"):
            waiting.result(120)
