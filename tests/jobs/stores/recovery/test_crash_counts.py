"""The line behind one that crashed its workers begins with no crash counted."""

from __future__ import annotations

from jobs.records.job import Lease
from testing.jobs.sample_jobs import new_job, submit
from tests.jobs.stores.conftest import StoreUnderTest

DEATHS_UNTIL_LOST = 2 + 1 + 2  # two beside others, one with both lines, two of the first line alone


def test_crashes_of_one_line_do_not_count_for_the_line_behind_it(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))

    def failed_after(deaths: int) -> int:
        for _ in range(deaths):
            lease = store.work.lease(shard, "worker", under_test.ttl_seconds, isolated=True)
            assert lease is not None
            under_test.expire(lease)
            store.recovery.recoverable_shards("demo", 10)
        return store.jobs.get("job-1").failed

    assert failed_after(DEATHS_UNTIL_LOST) == 1
    assert failed_after(1) == 1
    assert failed_after(1) == 2


def test_a_worker_that_shows_up_twice_uncounts_only_its_own_crash(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))

    def die() -> Lease:
        lease = store.work.lease(shard, "worker", under_test.ttl_seconds)
        assert lease is not None
        under_test.expire(lease)
        store.recovery.recoverable_shards("demo", 10)
        return lease

    first = die()
    store.work.renew([first], 60.0)
    die()
    store.work.renew([first], 60.0)
    die()
    assert store.work.lease(shard, "worker", 60.0) is None  # two were lost: it is quarantined
