"""Submissions with one key are one job."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import redis

from jobs import keys
from jobs.errors import QwenBatchError
from jobs.records.job import JobState, NewJob, ShardRef
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats

LONG = 60.0


def keyed(job_id: str, key: str = "k") -> NewJob:
    return msgspec.structs.replace(new_job(job_id, lines=2), key=key)


def store_lines(store: JobStore, spec: NewJob) -> None:
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))


def submit(store: JobStore, spec: NewJob) -> str:
    """What a client does; returns the job that stands in the end."""
    store_lines(store, spec)
    holder = store.submissions.claim(spec.id)
    if holder == spec.id:
        store.submissions.open(spec.id)
    else:
        store.control.delete(spec.id)
    return holder


def finish(store: JobStore, job_id: str, *, fail: bool = False) -> None:
    lease = store.work.lease(ShardRef(job_id, 0), "worker", LONG)
    assert lease is not None
    store.work.write(lease, [failed(0) if fail else completed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())


def test_the_second_submission_gets_the_first_ones_job(store: JobStore) -> None:
    assert submit(store, keyed("a")) == "a"
    assert submit(store, keyed("b")) == "a"
    assert submit(store, keyed("c", key="another")) == "c"
    assert [job.id for job in store.jobs.newest()] == ["c", "a"]


def test_a_job_without_a_key_is_nobodys_second(store: JobStore) -> None:
    assert submit(store, new_job("a", lines=2)) == "a"
    assert submit(store, new_job("b", lines=2)) == "b"


@pytest.mark.parametrize("with_failed_lines", [False, True])
def test_a_completed_job_stands(store: JobStore, with_failed_lines: bool) -> None:
    submit(store, keyed("a"))
    finish(store, "a", fail=with_failed_lines)
    found = store.submissions.find("k")
    assert found is not None
    assert (found.id, found.state) == ("a", JobState.COMPLETED)
    assert submit(store, keyed("b")) == "a"


def test_a_cancelled_job_does_not_stand(store: JobStore) -> None:
    submit(store, keyed("a"))
    store.work.lease(ShardRef("a", 0), "worker", LONG)
    assert not store.control.request_cancel("a").state.ended
    assert store.submissions.find("k") is None
    assert submit(store, keyed("b")) == "b"
    assert submit(store, keyed("c")) == "b"


def test_a_deleted_job_does_not_stand_and_takes_nobody_elses_key_with_it(store: JobStore) -> None:
    submit(store, keyed("a"))
    store.control.request_cancel("a")
    assert submit(store, keyed("b")) == "b"
    store.control.delete("a")
    assert submit(store, keyed("c")) == "b"
    finish(store, "b")
    store.control.delete("b")
    assert store.submissions.find("k") is None
    assert submit(store, keyed("d")) == "d"


def test_a_job_that_is_still_submitted_is_no_reason_not_to_submit(store: JobStore) -> None:
    store_lines(store, keyed("a"))
    assert store.submissions.find("k") is None
    assert submit(store, keyed("b")) == "b"
    assert store.submissions.claim("a") == "b"


def test_a_client_that_died_between_its_claim_and_its_opening_is_replaced(store: JobStore) -> None:
    store_lines(store, keyed("a"))
    assert store.submissions.claim("a") == "a"
    assert submit(store, keyed("b")) == "b"
    with pytest.raises(QwenBatchError):
        store.submissions.open("a")


def test_a_client_that_opens_its_job_a_moment_later_is_waited_for(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    store_lines(store, keyed("a"))
    assert store.submissions.claim("a") == "a"
    opening = threading.Timer(0.2, store.submissions.open, ["a"])
    opening.start()
    assert submit(store, keyed("b")) == "a"
    opening.join()


def test_of_many_at_once_one_becomes_a_job(store: JobStore) -> None:
    with ThreadPoolExecutor(6) as pool:
        claims = [pool.submit(submit, store, keyed(f"job-{number}")) for number in range(6)]
        winners = {claim.result() for claim in claims if claim.exception() is None}
    (winner,) = winners
    assert [job.id for job in store.jobs.newest() if job.stands] == [winner]


def test_a_deleted_job_leaves_no_key(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    submit(store, keyed("a"))
    assert client.exists(keys.submission("k"))
    store.control.request_cancel("a")
    store.control.delete("a")
    assert not client.exists(keys.submission("k"))
