"""What a return, a renewal and a backup leave of a lease, and what a job keeps."""

from __future__ import annotations

import pytest

from jobs.errors import JobConflict
from jobs.records.job import LeaseStatus
from jobs.records.shard_stats import TimelineSample
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest


def test_a_shard_that_was_given_back_is_not_lost_by_its_worker_later(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker", under_test.ttl_seconds)
    assert lease is not None
    assert store.work.release(lease)
    under_test.let_pass(under_test.ttl_seconds)
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == []
    assert store.recovery.recoverable_shards("demo", 10) == [shard]


def test_a_backup_does_not_keep_the_holders_lease_alive(under_test: StoreUnderTest) -> None:
    store = under_test.store
    submit(store, new_job(lines=4))
    quick, slow = (store.work.lease_next("demo", worker, 60.0) for worker in ("quick", "slow"))
    assert isinstance(quick, Leased) and isinstance(slow, Leased)
    store.work.write(quick.lease, [completed(0), completed(1)])
    store.work.finish_shard(quick.lease, shard_stats("quick"))
    second = None
    while second is None:  # until the shard has been held for twice as long as the finished one
        under_test.let_pass(0.02)
        second = store.work.try_backup("demo", "quick", 60.0, 0.0)
    under_test.expire(slow.lease)
    assert store.work.renew([second], 60.0) == [LeaseStatus.HELD]
    assert store.recovery.recoverable_shards("demo", 10) == [slow.lease.shard]


def test_a_job_that_was_paused_and_then_cancelled_is_to_end(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker", 60.0)
    assert lease is not None
    store.control.pause("job-1")
    store.control.request_cancel("job-1")
    assert store.work.renew([lease], 60.0) == [LeaseStatus.CANCELLED]


def test_a_completed_job_can_be_neither_paused_nor_resumed(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker", 60.0)
    assert lease is not None
    store.work.write(lease, [completed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())
    for change in (store.control.pause, store.control.resume):
        with pytest.raises(JobConflict):
            change("job-1")


def test_a_timeline_keeps_its_samples(under_test: StoreUnderTest) -> None:
    store = under_test.store
    submit(store, new_job(lines=2))
    for second in range(3):
        at = under_test.now()
        store.fleet.add_timeline("job-1", TimelineSample(at, "worker", float(second), running=1, kv_cache_usage=0.5))
        under_test.let_pass(0.01)
    assert [sample.output_throughput for sample in store.jobs.timeline("job-1")] == [0.0, 1.0, 2.0]
