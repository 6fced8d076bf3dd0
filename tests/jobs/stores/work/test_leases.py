"""Leases: exclusive, expiring, fenced."""

from __future__ import annotations

import pytest

from jobs.errors import LeaseLost
from jobs.records.job import LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def test_a_shard_is_leased_to_one_worker(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert (lease.worker_id, lease.shard, lease.attempt) == ("worker-1", shard, 1)
    assert store.work.lease(shard, "worker-2", LONG) is None
    assert store.work.lease(shard, "worker-1", LONG) is None
    assert store.work.renew([lease], LONG) == [LeaseStatus.HELD]


def test_leases_are_renewed_together_each_by_its_own_state(store: JobStore) -> None:
    states = [LeaseStatus.HELD, LeaseStatus.PAUSED, LeaseStatus.CANCELLED, LeaseStatus.LOST]
    leases = []
    for state in states:
        (shard,) = submit(store, new_job(state.value, lines=2))
        lease = store.work.lease(shard, "worker-1", LONG)
        assert lease is not None
        leases.append(lease)
    store.control.pause("paused")
    store.control.request_cancel("cancelled")
    store.work.release(leases[3])
    assert store.work.renew(leases, LONG) == states
    assert store.work.renew(leases[::-1], LONG) == states[::-1]
    store.control.request_cancel("lost")
    store.control.delete("lost")
    assert store.work.renew(leases, LONG) == states
    assert store.work.renew([], LONG) == []


def test_a_finished_shard_is_not_leased_again(store: JobStore) -> None:
    shard, _ = submit(store, new_job(lines=4))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(0), completed(1)])
    store.work.finish_shard(lease, shard_stats())
    assert store.work.lease(shard, "worker-2", LONG) is None
    assert store.work.renew([lease], LONG) == [LeaseStatus.LOST]
    with pytest.raises(LeaseLost):
        store.work.finish_shard(lease, shard_stats())


def test_a_shard_of_a_job_that_is_still_submitted_is_not_leased(store: JobStore) -> None:
    spec = new_job()
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), [])
    assert store.work.lease(ShardRef(spec.id, 0), "worker-1", LONG) is None


def test_an_expired_lease_is_taken_over_with_a_higher_token(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    old = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert old is not None
    under_test.let_pass(under_test.ttl_seconds)
    new = store.work.lease(shard, "worker-2", LONG)
    assert new is not None
    assert new.token > old.token
    assert new.attempt == 2


def test_a_renewed_lease_outlives_its_first_expiry(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert lease is not None
    assert store.work.renew([lease], LONG) == [LeaseStatus.HELD]
    under_test.let_pass(2 * under_test.ttl_seconds)
    assert store.work.lease(shard, "worker-2", LONG) is None


def test_an_expired_lease_that_nobody_took_is_still_its_holders(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert lease is not None
    under_test.let_pass(under_test.ttl_seconds)
    assert store.work.write(lease, [completed(0)]) == 1
    assert store.work.renew([lease], LONG) == [LeaseStatus.HELD]
    assert store.work.lease(shard, "worker-2", LONG) is None


def test_a_fenced_worker_changes_nothing(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    old = store.work.lease(shard, "worker-1", under_test.ttl_seconds)
    assert old is not None
    store.work.write(old, [completed(0, "old")])
    under_test.let_pass(under_test.ttl_seconds)
    new = store.work.lease(shard, "worker-2", LONG)
    assert new is not None
    before = store.jobs.get("job-1")
    with pytest.raises(LeaseLost):
        store.work.write(old, [completed(1, "late")])
    with pytest.raises(LeaseLost):
        store.work.pending(old)
    with pytest.raises(LeaseLost):
        store.work.finish_shard(old, shard_stats())
    assert store.work.renew([old], LONG) == [LeaseStatus.LOST]
    assert not store.work.release(old)
    assert store.jobs.get("job-1") == before
    assert [prompt.index for prompt in store.work.pending(new)] == [1]


def test_a_released_shard_goes_to_the_next_worker_with_its_finished_lines(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    first = store.work.lease(shard, "worker-1", LONG)
    assert first is not None
    store.work.write(first, [completed(1)])
    assert store.work.release(first)
    assert not store.work.release(first)
    second = store.work.lease(shard, "worker-2", LONG)
    assert second is not None
    assert second.token > first.token
    assert [prompt.index for prompt in store.work.pending(second)] == [0]


def test_the_leases_of_a_deleted_job_are_lost(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.control.request_cancel("job-1")
    store.work.finish_shard(lease, shard_stats())
    store.control.delete("job-1")
    assert store.work.renew([lease], LONG) == [LeaseStatus.LOST]
    assert not store.work.release(lease)
    with pytest.raises(LeaseLost):
        store.work.write(lease, [completed(0)])
    with pytest.raises(LeaseLost):
        store.work.pending(lease)
    with pytest.raises(LeaseLost):
        store.work.finish_shard(lease, shard_stats())
