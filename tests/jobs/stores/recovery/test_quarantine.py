"""A line that takes its workers down ends alone as `worker_lost`; whoever was beside it goes on."""

from __future__ import annotations

import pytest

from jobs.errors import LeaseLost
from jobs.records.completion import ErrorCode
from jobs.records.job import JobState, Lease, LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased, RunAlone
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


class Fleet:
    """Workers of a model, one after the other, that die while they run one of the crashing lines."""

    def __init__(self, under_test: StoreUnderTest, crashing: set[int]) -> None:
        self.store = under_test.store
        self.deaths = 0
        self.runs: list[list[int]] = []  # lines that were run together
        self._under_test = under_test
        self._crashing = crashing

    def run_to_the_end(self) -> None:
        while self.store.recovery.recoverable_shards("demo", 10):
            match self.store.work.lease_next("demo", "worker", LONG):
                case Leased(lease):
                    self._run(lease)
                case RunAlone(shard):
                    isolated = self.store.work.lease(shard, "worker", LONG, isolated=True)
                    assert isolated is not None
                    self._run(isolated)
                case None:
                    raise AssertionError("a shard waits")

    def _run(self, lease: Lease) -> None:
        while lines := [prompt.index for prompt in self.store.work.pending(lease)]:
            self.runs.append(lines)
            if self._crashing & set(lines):
                self.deaths += 1
                self.store.work.renew([lease], self._under_test.ttl_seconds)
                self._under_test.expire(lease)
                return
            self.store.work.write(lease, [completed(line) for line in lines])
        self.store.work.finish_shard(lease, shard_stats())


def errors(store: JobStore) -> dict[int, ErrorCode]:
    return {line.index: line.error.code for line in store.jobs.results("job-1") if line.error is not None}


def die(under_test: StoreUnderTest, shard: ShardRef, *, isolated: bool = False) -> Lease:
    """A worker takes a shard and is lost."""
    lease = under_test.store.work.lease(shard, "worker", under_test.ttl_seconds, isolated)
    assert lease is not None
    under_test.expire(lease)
    return lease


@pytest.mark.parametrize(("lines", "crashing"), [(1, {0}), (4, {0}), (4, {3}), (64, {40}), (64, {0, 63}), (9, {2, 4})])
def test_only_the_lines_that_kill_are_lost(under_test: StoreUnderTest, lines: int, crashing: set[int]) -> None:
    store = under_test.store
    submit(store, new_job(lines=lines, shard_size=64))
    fleet = Fleet(under_test, crashing)
    fleet.run_to_the_end()
    assert errors(store) == dict.fromkeys(crashing, ErrorCode.WORKER_LOST)
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed) == (JobState.COMPLETED, lines - len(crashing), len(crashing))


def test_a_line_in_sixty_four_costs_six_workers(under_test: StoreUnderTest) -> None:
    """Two that shared, one alone, one that ran an eighth, and two that ran nothing but the line."""
    submit(under_test.store, new_job(lines=64, shard_size=64))
    fleet = Fleet(under_test, {40})
    fleet.run_to_the_end()
    assert fleet.deaths == 6
    assert len(fleet.runs) < 25


def test_a_quarantined_shard_is_run_only_by_a_worker_that_runs_nothing_else(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(2):
        die(under_test, shard)
    assert store.work.lease(shard, "worker", LONG) is None
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    assert store.work.lease(shard, "worker", LONG) is None
    assert store.work.lease_next("demo", "worker", LONG) == RunAlone(shard)
    lease = store.work.lease(shard, "worker", LONG, isolated=True)
    assert lease is not None
    assert lease.lines_at_a_time == 2
    assert store.work.lease_next("demo", "worker", LONG) is None


def test_quarantined_shards_come_last(under_test: StoreUnderTest) -> None:
    store = under_test.store
    quarantined, other = submit(store, new_job(lines=4))
    for _ in range(2):
        die(under_test, quarantined)
    assert store.recovery.recoverable_shards("demo", 10) == [quarantined, other]  # its worker has just been lost
    assert store.recovery.recoverable_shards("demo", 10) == [other, quarantined]
    found = store.work.lease_next("demo", "worker", LONG)
    assert isinstance(found, Leased)
    assert found.lease.shard == other


def test_neighbours_that_died_with_a_crashing_shard_are_run_again_and_finish(under_test: StoreUnderTest) -> None:
    store = under_test.store
    shards = submit(store, new_job(lines=6))
    for _ in range(2):
        for shard in shards:
            store.work.lease(shard, "worker", under_test.ttl_seconds)
        under_test.let_pass(under_test.ttl_seconds)
    fleet = Fleet(under_test, {2})
    fleet.run_to_the_end()
    assert errors(store) == {2: ErrorCode.WORKER_LOST}
    assert store.jobs.get("job-1").completed == 5


def test_a_worker_whose_loss_would_fail_a_line_has_more_time_to_come_back(under_test: StoreUnderTest) -> None:
    store, ttl = under_test.store, under_test.ttl_seconds
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(4):
        die(under_test, shard, isolated=True)
    lease = store.work.lease(shard, "frozen", ttl, isolated=True)
    assert lease is not None
    for _ in range(2):
        under_test.let_pass(ttl)
        assert store.recovery.recoverable_shards("demo", 10) == []
        assert store.work.renew([lease], ttl) == [LeaseStatus.HELD]
    under_test.expire(lease)
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    assert errors(store) == {0: ErrorCode.WORKER_LOST}


def test_a_shard_to_be_run_alone_is_offered_to_nobody_past_its_jobs_deadline(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(2):
        die(under_test, shard)
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    assert store.work.lease_next("demo", "worker", LONG) == RunAlone(shard)
    under_test.pass_deadline("job-1")
    assert store.work.lease_next("demo", "worker", LONG) is None


@pytest.mark.parametrize("sign_of_life", ["renew", "release", "write", "finish"])
def test_a_worker_that_was_only_cut_off_is_not_counted(under_test: StoreUnderTest, sign_of_life: str) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(4):
        lease = die(under_test, shard)
        store.recovery.recoverable_shards("demo", 10)
        if sign_of_life == "renew":
            assert store.work.renew([lease], LONG) == [LeaseStatus.LOST]
        elif sign_of_life == "release":
            assert not store.work.release(lease)
        elif sign_of_life == "write":
            with pytest.raises(LeaseLost):
                store.work.write(lease, [completed(0)])
        else:
            with pytest.raises(LeaseLost):
                store.work.finish_shard(lease, shard_stats())
    assert store.work.lease(shard, "worker", LONG) is not None


def test_one_sign_of_life_uncounts_one_crash(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = die(under_test, shard)
    store.recovery.recoverable_shards("demo", 10)
    for _ in range(3):
        store.work.renew([lease], LONG)
    for _ in range(2):
        die(under_test, shard)
    store.recovery.recoverable_shards("demo", 10)
    assert store.work.lease(shard, "worker", LONG) is None


def test_a_line_that_finishes_counts_no_crash_for_the_next_one(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(2):
        die(under_test, shard)
    for _ in range(2):
        die(under_test, shard, isolated=True)
    lease = store.work.lease(shard, "worker", LONG, isolated=True)
    assert lease is not None
    assert lease.lines_at_a_time == 1
    store.work.write(lease, [completed(0)])
    store.work.release(lease)
    die(under_test, shard, isolated=True)
    store.recovery.recoverable_shards("demo", 10)
    assert errors(store) == {}


def test_a_retry_forgets_what_was_known(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=1))
    Fleet(under_test, {0}).run_to_the_end()
    assert store.control.retry("job-1") == [shard]
    assert store.work.lease(shard, "worker", LONG) is not None
