"""Holding a job up, and ending it at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from jobs.errors import JobConflict, JobNotFound
from jobs.records.completion import ErrorCode
from jobs.records.job import JobState, Lease, LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def leased(store: JobStore, shard: ShardRef, ttl_seconds: float = LONG) -> Lease:
    lease = store.work.lease(shard, "worker", ttl_seconds)
    assert lease is not None
    return lease


def submit_until(under_test: StoreUnderTest) -> list[ShardRef]:
    """Two shards of two lines, and a deadline that is soon."""
    return submit(under_test.store, msgspec.structs.replace(new_job(lines=4), deadline_seconds=under_test.ttl_seconds))


def codes(store: JobStore) -> list[ErrorCode | None]:
    return [line.error.code if line.error else None for line in store.jobs.results("job-1")]


# --- pause and resume ------------------------------------------------------------------------------------------


def test_nobody_gets_a_shard_of_a_paused_job(store: JobStore) -> None:
    shards = submit(store, new_job())
    assert store.control.pause("job-1").paused
    assert store.work.lease(shards[0], "worker", LONG) is None
    assert store.work.lease_next("demo", "worker", LONG) is None
    assert store.recovery.recoverable_shards("demo", 10) == []
    assert store.control.resume("job-1") == shards
    assert not store.jobs.get("job-1").paused
    assert store.recovery.recoverable_shards("demo", 10) == shards


def test_a_running_shard_hears_of_it_keeps_its_lines_and_waits_after_its_return(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.work.write(lease, [completed(0)])
    store.control.pause("job-1")
    assert store.work.renew([lease], LONG) == [LeaseStatus.PAUSED]
    assert not store.work.release(lease)
    assert store.control.resume("job-1") == [shard]
    assert [prompt.index for prompt in store.work.pending(leased(store, shard))] == [1]


def test_a_shard_that_is_finished_all_the_same_counts(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.control.pause("job-1")
    store.work.write(lease, [completed(0), completed(1)])
    assert store.work.finish_shard(lease, shard_stats())
    assert store.jobs.get("job-1").state is JobState.COMPLETED


def test_a_worker_lost_during_a_pause_gives_its_shard_back_at_the_end_of_it(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    leased(store, shard, under_test.ttl_seconds)
    store.control.pause("job-1")
    under_test.let_pass(under_test.ttl_seconds)
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == []
    assert store.control.resume("job-1") == [shard]


def test_both_may_be_repeated(store: JobStore) -> None:
    submit(store, new_job())
    assert store.control.pause("job-1") == store.control.pause("job-1")
    assert store.control.resume("job-1") == store.control.resume("job-1")


def test_a_paused_job_can_be_cancelled(store: JobStore) -> None:
    submit(store, new_job())
    store.control.pause("job-1")
    assert store.control.request_cancel("job-1").state is JobState.CANCELLED


def pause(store: JobStore) -> None:
    store.control.pause("job-1")


def resume(store: JobStore) -> None:
    store.control.resume("job-1")


@pytest.mark.parametrize("change", [pause, resume])
def test_only_a_job_that_waits_or_runs_can_be_paused_or_resumed(
    store: JobStore, change: Callable[[JobStore], None]
) -> None:
    with pytest.raises(JobNotFound):
        change(store)
    store.submissions.create(new_job())
    with pytest.raises(JobConflict, match="is validating"):
        change(store)
    store.control.delete("job-1")
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.control.request_cancel("job-1")
    with pytest.raises(JobConflict, match="is about to end"):
        change(store)
    store.work.finish_shard(lease, shard_stats())
    with pytest.raises(JobConflict, match="is cancelled"):
        change(store)


# --- deadlines -------------------------------------------------------------------------------------------------


def test_at_its_deadline_finished_lines_stay_and_the_rest_expires(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, _ = submit_until(under_test)
    lease = leased(store, first)
    store.work.write(lease, [completed(1)])
    store.work.release(lease)
    under_test.let_pass(under_test.ttl_seconds)
    assert store.recovery.recoverable_shards("demo", 10) == []
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed) == (JobState.EXPIRED, 1, 3)
    assert codes(store) == [ErrorCode.EXPIRED, None, ErrorCode.EXPIRED, ErrorCode.EXPIRED]
    assert job.deadline_passed and not job.cancel_requested


def test_the_deadline_counts_from_the_opening_by_the_stores_clock(under_test: StoreUnderTest) -> None:
    before = under_test.now()
    submit_until(under_test)
    deadline = under_test.store.jobs.get("job-1").deadline_at
    assert deadline is not None
    assert before <= deadline - under_test.ttl_seconds + 0.001
    assert deadline - under_test.ttl_seconds <= under_test.now()


def test_a_running_shard_is_told_and_ends_the_job_with_its_lines_expired(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit_until(under_test)
    lease = leased(store, first)
    under_test.let_pass(under_test.ttl_seconds)
    assert store.work.lease(second, "worker", LONG) is None
    assert store.work.lease_next("demo", "worker", LONG) is None
    store.recovery.recoverable_shards("demo", 10)
    assert not store.jobs.get("job-1").state.ended
    assert store.work.renew([lease], LONG) == [LeaseStatus.CANCELLED]
    store.work.write(lease, [completed(0)])
    assert store.work.finish_shard(lease, shard_stats())
    assert codes(store) == [None, *[ErrorCode.EXPIRED] * 3]


def test_a_paused_job_expires_too(under_test: StoreUnderTest) -> None:
    submit_until(under_test)
    under_test.store.control.pause("job-1")
    under_test.let_pass(under_test.ttl_seconds)
    under_test.store.recovery.recoverable_shards("demo", 10)
    assert under_test.store.jobs.get("job-1").state is JobState.EXPIRED


def test_a_job_that_was_done_before_its_deadline_stays_completed(under_test: StoreUnderTest) -> None:
    store = under_test.store
    for shard in submit_until(under_test):
        lease = leased(store, shard)
        store.work.write(lease, [completed(2 * shard.index), completed(2 * shard.index + 1)])
        store.work.finish_shard(lease, shard_stats())
    under_test.let_pass(under_test.ttl_seconds)
    store.recovery.recoverable_shards("demo", 10)
    assert store.jobs.get("job-1").state is JobState.COMPLETED


def test_whichever_comes_first_of_a_cancellation_and_the_deadline_decides(under_test: StoreUnderTest) -> None:
    store = under_test.store
    for name in ("cancelled", "expired"):
        spec = msgspec.structs.replace(new_job(name, lines=2), deadline_seconds=under_test.ttl_seconds)
        (shard,) = submit(store, spec)
        leased(store, shard)
    store.control.request_cancel("cancelled")
    under_test.let_pass(under_test.ttl_seconds)
    store.recovery.recoverable_shards("demo", 10)
    store.control.request_cancel("expired")
    assert store.jobs.get("cancelled").cancel_requested and not store.jobs.get("cancelled").deadline_passed
    assert store.jobs.get("expired").deadline_passed and not store.jobs.get("expired").cancel_requested


def test_a_retry_of_an_expired_job_has_no_deadline(under_test: StoreUnderTest) -> None:
    store = under_test.store
    shards = submit_until(under_test)
    under_test.let_pass(under_test.ttl_seconds)
    store.recovery.recoverable_shards("demo", 10)
    assert store.control.retry("job-1") == shards
    job = store.jobs.get("job-1")
    assert (job.state, job.deadline_at, job.deadline_passed) == (JobState.QUEUED, None, False)
    assert store.recovery.recoverable_shards("demo", 10) == shards
