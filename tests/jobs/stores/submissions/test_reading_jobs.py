"""Reading several jobs together."""

from __future__ import annotations

import redis

from jobs.errors import JobNotFound, RecordDamaged
from jobs.keys import JobKeys
from jobs.records.job import Job
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import new_job, submit


def test_jobs_are_read_together_in_the_order_of_their_ids(store: JobStore) -> None:
    for job_id in ("job-a", "job-b"):
        submit(store, new_job(job_id))
    missing, *found = store.jobs.get_each(["job-x", "job-b", "job-a"])
    assert found == [store.jobs.get(job_id) for job_id in ("job-b", "job-a")]
    assert isinstance(missing, JobNotFound)
    assert store.jobs.get_each([]) == []


def test_unfinished_jobs_are_found_among_the_newest(store: JobStore) -> None:
    ended, queued, cancelled, validating = (f"job-{letter}" for letter in "dcba")
    submit(store, new_job(ended, lines=1), known={0})
    submit(store, new_job(queued))
    submit(store, new_job(cancelled))
    store.control.request_cancel(cancelled)
    store.submissions.create(new_job(validating))
    assert store.jobs.unfinished(10) == [store.jobs.get(job_id) for job_id in (queued, validating)]
    assert store.jobs.unfinished(2) == [store.jobs.get(queued)]
    assert store.jobs.unfinished(1) == []


def test_a_damaged_job_does_not_hide_the_others(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    for job_id in ("job-a", "job-b"):
        submit(store, new_job(job_id))
    client.hset(JobKeys("job-a").meta, "spec", "no JSON")
    assert [type(each) for each in store.jobs.get_each(["job-a", "job-b"])] == [RecordDamaged, Job]
