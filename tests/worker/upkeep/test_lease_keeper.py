"""Leases live as long as they are renewed, and their holder hears of their end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from jobs.errors import StoreFull
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.stores.worker_facets import Leased, ShardWork
from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import ShardBench, prompts
from worker.upkeep.lease_keeper import LeaseKeeper
from worker.upkeep.store_link import StoreLink


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def keeper(bench: ShardBench, clock: HandClock) -> LeaseKeeper:
    """A keeper whose rounds the test runs itself: it is never started."""
    link = StoreLink(threading.Event(), clock)
    return LeaseKeeper(work=bench.store.work, worker_id="w", ttl_seconds=4.0, link=link, clock=clock)


class SlowStore:
    """Grants and renews every lease, and takes three seconds for it."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def lease(self, *_: Any) -> Lease:
        self._clock.advance(3)
        return Lease(ShardRef("job", 0), "w", 1, 1)

    try_backup = lease

    def lease_next(self, *_: Any) -> Leased:
        return Leased(self.lease())

    def renew(self, leases: Sequence[Lease], _ttl_seconds: float) -> list[LeaseStatus]:
        self._clock.advance(3)
        return [LeaseStatus.HELD] * len(leases)


def test_a_held_lease_is_renewed_and_nobody_is_told(bench: ShardBench, keeper: LeaseKeeper, clock: HandClock) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    held = keeper.take(shard, ends.append)
    assert held is not None
    for _ in range(10):
        clock.advance(1)
        keeper.renew_all()
        keeper.give_up_expired()
    assert ends == []
    assert keeper.leases() == [held.lease]


def test_a_shard_that_another_worker_holds_is_not_taken(bench: ShardBench, keeper: LeaseKeeper) -> None:
    (shard,) = bench.add_job(prompts(1))
    assert bench.real_store.work.lease(shard, "another", 4.0) is not None
    assert keeper.take(shard, lambda _: None) is None
    assert keeper.leases() == []


def test_a_cancelled_job_is_told_once_and_the_lease_is_kept(bench: ShardBench, keeper: LeaseKeeper) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    keeper.take(shard, ends.append)
    bench.real_store.control.request_cancel("job")
    keeper.renew_all()
    keeper.renew_all()
    assert ends == [LeaseStatus.CANCELLED]
    assert len(keeper.leases()) == 1


def test_a_lease_that_was_given_back_counts_as_lost(bench: ShardBench, keeper: LeaseKeeper) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    held = keeper.take(shard, ends.append)
    assert held is not None
    bench.real_store.work.release(held.lease)
    keeper.renew_all()
    assert ends == [LeaseStatus.LOST]
    assert keeper.leases() == []


def test_a_lease_of_a_deleted_job_counts_as_lost(bench: ShardBench, keeper: LeaseKeeper) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    held = keeper.take(shard, ends.append)
    assert held is not None
    bench.real_store.control.request_cancel("job")
    bench.real_store.work.release(held.lease)
    bench.real_store.control.delete("job")
    keeper.renew_all()
    assert ends == [LeaseStatus.LOST]


@pytest.mark.parametrize("trouble", ["down", "full"])
def test_a_store_in_trouble_costs_the_lease_only_when_its_time_has_passed(
    bench: ShardBench, keeper: LeaseKeeper, clock: HandClock, trouble: str
) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    keeper.take(shard, ends.append)
    if trouble == "down":
        bench.store.cut()
    else:
        bench.store.full = StoreFull("Redis has reached its memory limit.")
    clock.advance(3.9)
    keeper.renew_all()
    keeper.give_up_expired()
    assert ends == []
    clock.advance(0.2)
    keeper.renew_all()
    keeper.give_up_expired()
    assert ends == [LeaseStatus.LOST]


def test_a_store_that_comes_back_in_time_costs_nothing(
    bench: ShardBench, keeper: LeaseKeeper, clock: HandClock
) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    keeper.take(shard, ends.append)
    bench.store.cut()
    clock.advance(3)
    keeper.renew_all()
    bench.store.mend()
    keeper.renew_all()
    clock.advance(3)
    keeper.give_up_expired()
    assert ends == []


def test_a_lease_that_was_let_go_is_not_renewed(bench: ShardBench, keeper: LeaseKeeper, clock: HandClock) -> None:
    (shard,) = bench.add_job(prompts(1))
    ends: list[LeaseStatus] = []
    held = keeper.take(shard, ends.append)
    assert held is not None
    keeper.let_go(held)
    bench.store.cut()
    keeper.renew_all()  # asks nothing: a call would raise
    clock.advance(100)
    keeper.give_up_expired()
    assert ends == []


@pytest.fixture
def slow(clock: HandClock) -> LeaseKeeper:
    """A keeper over a store that takes three of the four seconds that a lease lives for every answer."""
    link = StoreLink(threading.Event(), clock)
    return LeaseKeeper(work=cast(ShardWork, SlowStore(clock)), worker_id="w", ttl_seconds=4.0, link=link, clock=clock)


@pytest.mark.parametrize("way", ["take", "take_next", "take_backup"])
@pytest.mark.parametrize("renewed", [False, True])
def test_a_lease_lives_from_the_question_on_and_not_from_the_answer(
    slow: LeaseKeeper, clock: HandClock, way: str, renewed: bool
) -> None:
    """The store may have granted it as soon as it was asked, and its clock runs from then on."""
    ends: list[LeaseStatus] = []
    take = {
        "take": lambda: slow.take(ShardRef("job", 0), ends.append),
        "take_next": lambda: slow.take_next("model", ends.append),
        "take_backup": lambda: slow.take_backup("model", ends.append, 0.0),
    }
    assert take[way]() is not None
    if renewed:
        slow.renew_all()
    clock.advance(0.9)
    slow.give_up_expired()
    assert ends == []
    clock.advance(0.2)
    slow.give_up_expired()
    assert ends == [LeaseStatus.LOST]
