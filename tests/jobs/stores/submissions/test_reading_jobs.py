"""Reading several jobs together."""

from __future__ import annotations

import pytest
import redis

from jobs.errors import JobNotFound, RecordDamaged
from jobs.keys import JobKeys
from jobs.records.job import Job, JobCounts, ShardRef
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit


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
    assert store.jobs.unfinished(10) == [JobCounts.of(store.jobs.get(job_id)) for job_id in (queued, validating)]
    assert store.jobs.unfinished(2) == [JobCounts.of(store.jobs.get(queued))]
    assert store.jobs.unfinished(1) == []


def test_jobs_are_found_by_the_beginning_or_the_end_of_their_ids(store: JobStore) -> None:
    for job_id in ("job-a-x", "job-b-x", "job-b-y"):
        submit(store, new_job(job_id, lines=1), known={0})
    found = {part: [job.id for job in store.jobs.newest(2, part)] for part in ("job-", "job-b", "-x", "-b-", "*")}
    assert found == {
        "job-": ["job-b-y", "job-b-x"],
        "job-b": ["job-b-y", "job-b-x"],
        "-x": ["job-b-x", "job-a-x"],
        "-b-": [],
        "*": [],
    }
    store.control.delete("job-b-x")
    assert [job.id for job in store.jobs.newest(2, "job-")] == ["job-b-y", "job-a-x"]


def test_the_lines_of_unfinished_jobs_are_counted(store: JobStore) -> None:
    submit(store, new_job("job-a", lines=6), known={0, 2})
    found = store.work.lease_next("demo", "worker", 60.0)
    assert isinstance(found, Leased)
    store.work.write(found.lease, [failed(1)])
    (counts,) = store.jobs.unfinished(10)
    assert counts == JobCounts.of(store.jobs.get("job-a"))
    assert (counts.num_lines, counts.completed, counts.failed, counts.waiting) == (6, 2, 1, 3)


def test_a_shard_without_a_text_has_no_lines_for_a_search(store: JobStore) -> None:
    submit(store, new_job("job-a", lines=4))
    found = store.work.lease_next("demo", "worker", 60.0)
    assert isinstance(found, Leased)
    store.work.write(found.lease, [completed(0, "In RÉSUMÉ")])
    running, other = (ShardRef("job-a", index) for index in range(2))
    for text in ("what is 1?", "line-0", "in résumé"):
        assert store.jobs.lines(running, text) == store.jobs.lines(running)
        assert store.jobs.lines(other, text) == []
    store.work.write(found.lease, [completed(1, "Ends now.")])
    store.work.finish_shard(found.lease, shard_stats())
    assert store.jobs.lines(running, "ends now") == store.jobs.lines(running)
    assert store.jobs.lines(running, "nowhere") == []


def test_a_search_notices_a_damaged_shard(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    submit(store, new_job("job-a", lines=4))
    client.set(JobKeys("job-a").input(1), b"no archive")
    with pytest.raises(RecordDamaged):
        store.jobs.lines(ShardRef("job-a", 1), "nowhere")


def test_a_damaged_or_half_deleted_job_is_not_counted(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    for job_id in ("job-a", "job-b", "job-c", "job-d"):
        submit(store, new_job(job_id))
    client.hset(JobKeys("job-a").meta, "spec", "no JSON")
    client.hset(JobKeys("job-b").meta, "state", "deleting")
    client.hset(JobKeys("job-c").meta, "spec", client.hget(JobKeys("job-d").meta, "spec") or b"")
    assert [job.id for job in store.jobs.unfinished(10)] == ["job-d"]
    assert not client.exists(JobKeys("job-b").meta)  # its deletion is complete


def test_a_damaged_job_does_not_hide_the_others(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    for job_id in ("job-a", "job-b"):
        submit(store, new_job(job_id))
    client.hset(JobKeys("job-a").meta, "spec", "no JSON")
    assert [type(each) for each in store.jobs.get_each(["job-a", "job-b"])] == [RecordDamaged, Job]
