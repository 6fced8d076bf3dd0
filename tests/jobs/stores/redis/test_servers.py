"""Servers that drop keys, are full inside a script, or have forgotten a job; and a wait of no time."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import ResponseError

from jobs.errors import StoreFull, StoreUnavailable
from jobs.keys import JobKeys
from jobs.stores.connect import connect
from jobs.stores.redis.connection.errors import translated
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import new_job, submit
from testing.processes.valkey import ValkeyProcess


@pytest.mark.parametrize("policy", ["allkeys-lfu", "volatile-ttl"])
def test_a_server_that_drops_keys_in_any_way_is_refused(
    valkey: ValkeyProcess, client: redis.Redis, policy: str
) -> None:
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(StoreUnavailable, match=f"maxmemory-policy {policy}"):
            connect(valkey.url)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "0")


def test_a_server_that_is_full_where_a_script_writes_says_so() -> None:
    error = ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: 0123, on @user_script:5.")
    assert isinstance(translated(error, "localhost:6379"), StoreFull)


def test_a_run_whose_job_is_gone_is_made_anew(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    submit(store, new_job(lines=2))
    store.submissions.remember_run("fingerprint", "job-1")
    assert store.submissions.find_run("fingerprint") == "job-1"
    client.delete(JobKeys("job-1").meta)
    assert store.submissions.find_run("fingerprint") is None


def test_a_wait_for_a_notification_of_no_time_ends_at_once(client: redis.Redis) -> None:
    assert RedisJobStore(RedisServer(client)).work.wait_for_notification("demo", None, 0.0) is None
