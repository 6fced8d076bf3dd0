"""Shards that nobody holds can be recovered."""

from __future__ import annotations

from jobs.records.job import LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, prompts_of, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def test_shards_that_were_never_leased_are_recoverable(store: JobStore) -> None:
    shards = submit(store, new_job())
    assert store.recovery.recoverable_shards("demo", 10) == shards
    assert store.recovery.recoverable_shards("demo", 2) == shards[:2]
    assert store.recovery.recoverable_shards("another model", 10) == []


def test_held_and_finished_shards_are_not_recoverable(store: JobStore) -> None:
    finished, held, waiting = submit(store, new_job())
    lease = store.work.lease(finished, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())
    store.work.lease(held, "worker-1", LONG)
    assert store.recovery.recoverable_shards("demo", 10) == [waiting]


def test_a_job_that_is_still_submitted_has_no_recoverable_shards(store: JobStore) -> None:
    spec = new_job()
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
    assert store.recovery.recoverable_shards("demo", 10) == []
    store.submissions.add_shard(ShardRef(spec.id, 1), prompts_of(spec, 1))
    store.submissions.add_shard(ShardRef(spec.id, 2), prompts_of(spec, 2))
    assert store.recovery.recoverable_shards("demo", 10) == []
    store.submissions.open(spec.id)
    assert len(store.recovery.recoverable_shards("demo", 10)) == 3


def test_jobs_that_were_never_served_come_by_name(store: JobStore) -> None:
    submit(store, new_job("job-2", lines=2))
    submit(store, new_job("job-1", lines=2))
    assert [shard.job_id for shard in store.recovery.recoverable_shards("demo", 10)] == ["job-1", "job-2"]


def test_a_released_shard_is_recoverable(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert store.recovery.recoverable_shards("demo", 10) == []
    store.work.release(lease)
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == []


def test_an_expired_lease_is_dropped_and_its_worker_fenced(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert lease is not None
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == []
    under_test.let_pass(under_test.ttl_seconds)
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == [shard]
    assert store.recovery.recoverable_shards("demo", 10, expired_only=True) == []
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    assert store.work.renew([lease], LONG) == [LeaseStatus.LOST]


def test_lost_shards_come_before_waiting_ones_and_none_is_dropped_unseen(under_test: StoreUnderTest) -> None:
    store = under_test.store
    shards = submit(store, new_job(lines=12))
    for shard in shards[3:]:
        store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    under_test.let_pass(under_test.ttl_seconds)
    assert store.recovery.recoverable_shards("demo", 2) == shards[3:5]
    assert store.recovery.recoverable_shards("demo", 2, expired_only=True) == shards[5:]
    assert store.recovery.recoverable_shards("demo", 10) == shards


def test_lost_shards_of_several_jobs_are_not_dropped_unseen_either(under_test: StoreUnderTest) -> None:
    store = under_test.store
    shards = [shard for name in ("job-1", "job-2") for shard in submit(store, new_job(name))]
    for shard in shards:
        store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    under_test.let_pass(under_test.ttl_seconds)
    found = [store.recovery.recoverable_shards("demo", 2, expired_only=True) for _ in range(4)]
    assert found == [shards[0:2], shards[2:4], shards[4:6], []]


def test_orderly_releases_are_no_reason_to_give_a_shard_up(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    for attempt in range(1, 6):
        lease = store.work.lease(shard, "worker-1", LONG)
        assert lease is not None
        assert lease.attempt == attempt
        store.work.release(lease)
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
