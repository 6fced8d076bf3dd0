"""A backup of a slow shard: it may write and finish, and can take nothing from the holder but the work."""

from __future__ import annotations

import pytest

from jobs.errors import LeaseLost
from jobs.records.job import JobState, Lease, LeaseStatus
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0
USUAL = 10.0  # seconds that the first shard is held


def slow_shard(under_test: StoreUnderTest, its_time: float = 3 * USUAL) -> Lease:
    """One of two shards of a job: the other one was finished after the usual time, and this one is still held."""
    store = under_test.store
    submit(store, new_job(lines=4))
    quick, slow = (store.work.lease_next("demo", worker, LONG) for worker in ("quick", "slow"))
    assert isinstance(quick, Leased) and isinstance(slow, Leased)
    under_test.let_pass(USUAL)
    store.work.write(quick.lease, [completed(0), completed(1)])
    store.work.finish_shard(quick.lease, shard_stats("quick"))
    under_test.let_pass(its_time - USUAL)
    return slow.lease


def second_of(under_test: StoreUnderTest, ttl_seconds: float = LONG) -> Lease:
    lease = under_test.store.work.try_backup("demo", "quick", ttl_seconds, 0.0)
    assert lease is not None and lease.backup
    return lease


def test_both_write_and_the_first_write_of_a_line_wins(under_test: StoreUnderTest) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    second = second_of(under_test)
    assert store.work.write(holder, [completed(2, "holder")]) == 1
    assert [prompt.index for prompt in store.work.pending(second)] == [3]
    assert store.work.write(second, [completed(2, "second"), completed(3, "second")]) == 1
    assert store.work.write(holder, [completed(3, "holder")]) == 0
    assert [line.text for line in store.jobs.results("job-1")][2:] == ["holder", "second"]
    assert store.jobs.get("job-1").completed == 4


def test_each_worker_has_the_tokens_of_the_lines_that_it_wrote_whoever_finishes_the_shard(
    under_test: StoreUnderTest,
) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    second = second_of(under_test)
    store.work.write(second, [completed(2, tokens=50)])
    store.work.write(holder, [completed(2, tokens=70), completed(3, tokens=600)])
    store.work.finish_shard(holder, shard_stats("slow"))
    stats = store.jobs.stats("job-1")
    shares = {share.worker_id: share.output_tokens for share in stats.workers}
    assert shares == {"quick": 4 + 4 + 50, "slow": 600}
    assert sum(shares.values()) == stats.total_output_tokens


@pytest.mark.parametrize("second_is_faster", [True, False])
def test_whoever_finishes_first_ends_the_shard_for_both(under_test: StoreUnderTest, second_is_faster: bool) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    second = second_of(under_test)
    first, late = (second, holder) if second_is_faster else (holder, second)
    store.work.write(first, [completed(2), completed(3)])
    assert store.work.finish_shard(first, shard_stats(first.worker_id))
    assert store.jobs.get("job-1").state is JobState.COMPLETED
    assert store.work.renew([late], LONG) == [LeaseStatus.LOST]
    for act in (lambda: store.work.write(late, [completed(3)]), lambda: store.work.finish_shard(late, shard_stats())):
        with pytest.raises(LeaseLost):
            act()
    assert [line.index for line in store.jobs.results("job-1")] == [0, 1, 2, 3]


def test_the_holder_keeps_its_lease_whatever_the_backup_does(under_test: StoreUnderTest) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    second = second_of(under_test)
    assert store.work.renew([second], LONG) == [LeaseStatus.HELD]
    assert not store.work.release(second)
    assert store.work.renew([second], LONG) == [LeaseStatus.LOST]
    assert store.work.renew([holder], LONG) == [LeaseStatus.HELD]
    assert store.recovery.recoverable_shards("demo", 10) == []
    assert [prompt.index for prompt in store.work.pending(holder)] == [2, 3]


def test_the_lease_of_a_backup_ends_with_the_holders(under_test: StoreUnderTest) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    second = second_of(under_test)
    under_test.expire(holder)
    assert store.recovery.recoverable_shards("demo", 10) == [holder.shard]
    assert store.work.renew([second], LONG) == [LeaseStatus.LOST]
    again = store.work.lease(holder.shard, "quick", LONG)
    assert again is not None
    with pytest.raises(LeaseLost):
        store.work.write(second, [completed(2)])
    assert store.work.write(again, [completed(2)]) == 1


def test_there_is_one_backup_until_its_lease_expires(under_test: StoreUnderTest) -> None:
    store = under_test.store
    slow_shard(under_test)
    lost = second_of(under_test, under_test.ttl_seconds)
    under_test.let_pass(under_test.ttl_seconds / 2)
    assert store.work.try_backup("demo", "third", LONG, 0.0) is None
    under_test.let_pass(under_test.ttl_seconds)
    third = store.work.try_backup("demo", "third", LONG, 0.0)
    assert third is not None
    with pytest.raises(LeaseLost):
        store.work.write(lost, [completed(2)])
    assert store.work.write(third, [completed(2)]) == 1


def test_a_backup_is_told_of_a_cancellation(under_test: StoreUnderTest) -> None:
    store = under_test.store
    slow_shard(under_test)
    second = second_of(under_test)
    store.control.request_cancel("job-1")
    assert store.work.renew([second], LONG) == [LeaseStatus.CANCELLED]


def test_a_cancelled_job_gets_no_backup(under_test: StoreUnderTest) -> None:
    slow_shard(under_test)
    under_test.store.control.request_cancel("job-1")
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_a_job_past_its_deadline_gets_no_backup(under_test: StoreUnderTest) -> None:
    slow_shard(under_test)
    under_test.pass_deadline("job-1")
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_a_paused_job_gets_no_backup_before_it_is_resumed(under_test: StoreUnderTest) -> None:
    slow_shard(under_test)
    under_test.store.control.pause("job-1")
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None
    under_test.store.control.resume("job-1")
    second_of(under_test)


def test_a_shard_whose_holder_is_lost_gets_no_backup(under_test: StoreUnderTest) -> None:
    """It needs a new holder, and has none until a recovery has found it."""
    under_test.expire(slow_shard(under_test))
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_a_shard_is_not_slow_before_its_time(under_test: StoreUnderTest) -> None:
    store = under_test.store
    slow_shard(under_test)
    assert store.work.try_backup("demo", "quick", LONG, LONG) is None
    assert store.work.try_backup("demo", "slow", LONG, 0.0) is None  # its own
    assert store.work.try_backup("other", "quick", LONG, 0.0) is None


def test_a_shard_is_slow_after_twice_the_usual_time(under_test: StoreUnderTest) -> None:
    slow_shard(under_test, its_time=1.5 * USUAL)
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None
    under_test.let_pass(USUAL)
    second_of(under_test)


def test_where_no_shard_is_finished_nobody_knows_what_is_slow(under_test: StoreUnderTest) -> None:
    submit(under_test.store, new_job(lines=2))
    assert isinstance(under_test.store.work.lease_next("demo", "slow", LONG), Leased)
    under_test.let_pass(USUAL)
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_while_shards_wait_nobody_runs_one_twice(under_test: StoreUnderTest) -> None:
    holder = slow_shard(under_test)
    spec = under_test.store.jobs.get(holder.shard.job_id).spec
    under_test.store.submissions.extend(spec, [[]])
    assert under_test.store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_a_shard_that_has_lost_a_worker_is_not_given_to_two(under_test: StoreUnderTest) -> None:
    store, holder = under_test.store, slow_shard(under_test)
    under_test.expire(holder)
    again = store.work.lease(holder.shard, "slow", LONG)
    assert again is not None
    under_test.let_pass(4 * USUAL)
    assert store.work.try_backup("demo", "quick", LONG, 0.0) is None


def test_a_job_that_is_gone_has_no_slow_shards(store: JobStore) -> None:
    assert store.work.try_backup("demo", "quick", LONG, 0.0) is None
