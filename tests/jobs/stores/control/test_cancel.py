"""Cancelling: finished lines stay, every other line becomes one `cancelled` error."""

from __future__ import annotations

import pytest

from jobs.errors import JobConflict
from jobs.records.completion import ErrorCode
from jobs.records.job import JobState, LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, prompts_of, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def errors_of(store: JobStore) -> list[ErrorCode | None]:
    """The error code of each result line, None for a completion."""
    return [line.error.code if line.error else None for line in store.jobs.results("job-1")]


def test_cancelling_a_queued_job_ends_it_at_once(store: JobStore) -> None:
    shards = submit(store, new_job(lines=100, shard_size=3))
    job = store.control.request_cancel("job-1")
    assert (job.state, job.completed, job.failed, job.shards_done) == (JobState.CANCELLED, 0, 100, 34)
    assert errors_of(store) == [ErrorCode.CANCELLED] * 100
    assert store.work.lease(shards[0], "worker-1", LONG) is None
    assert job.ended_at is not None and job.last_line_at is None


def test_a_running_shard_sees_the_cancellation_and_ends_the_job(store: JobStore) -> None:
    shard, other = submit(store, new_job(lines=4))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(1)])
    job = store.control.request_cancel("job-1")
    assert (job.state, job.cancel_requested, job.failed) == (JobState.IN_PROGRESS, True, 2)
    assert store.work.lease(other, "worker-2", LONG) is None
    assert store.work.renew([lease], LONG) == [LeaseStatus.CANCELLED]
    assert store.work.finish_shard(lease, shard_stats())
    assert errors_of(store) == [ErrorCode.CANCELLED, None, ErrorCode.CANCELLED, ErrorCode.CANCELLED]
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed) == (JobState.CANCELLED, 1, 3)


def test_a_line_that_was_finished_before_the_worker_saw_the_cancellation_counts(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.control.request_cancel("job-1")
    assert store.work.write(lease, [completed(0)]) == 1
    store.work.finish_shard(lease, shard_stats())
    assert errors_of(store) == [None, ErrorCode.CANCELLED]


def test_a_released_shard_of_a_cancelled_job_is_closed(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.control.request_cancel("job-1")
    assert not store.work.release(lease)
    assert store.jobs.get("job-1").state is JobState.CANCELLED
    assert errors_of(store) == [ErrorCode.CANCELLED] * 2


def test_a_shard_whose_worker_died_while_cancelling_is_closed_by_the_recovery(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert lease is not None
    store.work.write(lease, [completed(0)])
    assert store.control.request_cancel("job-1").state is JobState.IN_PROGRESS
    under_test.let_pass(under_test.ttl_seconds)
    assert store.work.lease(shard, "worker-2", LONG) is None
    assert store.recovery.recoverable_shards("demo", 10) == []
    assert store.jobs.get("job-1").state is JobState.CANCELLED
    assert errors_of(store) == [None, ErrorCode.CANCELLED]
    assert store.work.renew([lease], LONG) == [LeaseStatus.LOST]


def test_cancelling_again_closes_what_a_dead_worker_left(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    store.control.request_cancel("job-1")
    under_test.let_pass(under_test.ttl_seconds)
    assert store.control.request_cancel("job-1").state is JobState.CANCELLED


def test_a_job_that_has_ended_stays_as_it_is(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())
    before = store.jobs.get("job-1")
    assert store.control.request_cancel("job-1") == before
    assert before.state is JobState.COMPLETED


def test_cancelling_while_submitting_stops_the_submission(store: JobStore) -> None:
    spec = new_job()
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
    job = store.control.request_cancel(spec.id)
    assert (job.state, job.failed) == (JobState.CANCELLED, 2)
    with pytest.raises(JobConflict, match="cancelled"):
        store.submissions.add_shard(ShardRef(spec.id, 1), prompts_of(spec, 1))
    with pytest.raises(JobConflict, match="cancelled"):
        store.submissions.open(spec.id)


def test_cancelling_before_the_first_shard_ends_the_job(store: JobStore) -> None:
    store.submissions.create(new_job())
    assert store.control.request_cancel("job-1").state is JobState.CANCELLED
