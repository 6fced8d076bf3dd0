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


def test_a_damaged_job_does_not_hide_the_others(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    for job_id in ("job-a", "job-b"):
        submit(store, new_job(job_id))
    client.hset(JobKeys("job-a").meta, "spec", "no JSON")
    assert [type(each) for each in store.jobs.get_each(["job-a", "job-b"])] == [RecordDamaged, Job]
