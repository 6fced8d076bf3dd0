"""Shards that nobody works on get a new hint, and a long queue is not flooded."""

from __future__ import annotations

import threading
import time

import pytest

from jobs.errors import StoreUnavailable
from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.upkeep.recovery import RECOVERY_LIMIT, SETTLE_SECONDS, Recovery
from worker.upkeep.store_link import StoreLink


@pytest.fixture
def recovery(bench: ShardBench) -> Recovery:
    """A recovery that is never started: the test searches itself."""
    link = StoreLink(threading.Event())
    return Recovery(store=bench.store, hints=bench.hints, model=MODEL, interval_seconds=1.0, link=link)


def test_shards_whose_messages_were_lost_are_hinted_again(bench: ShardBench, recovery: Recovery) -> None:
    shards = bench.add_job(prompts(6), shard_size=2)
    assert recovery.recover() == 3
    assert sorted(bench.hints.sent) == shards


def test_shards_whose_messages_still_wait_are_left_alone(bench: ShardBench, recovery: Recovery) -> None:
    bench.add_job(prompts(6), shard_size=2)
    bench.hints.waiting = 1
    assert recovery.recover() == 0
    assert bench.hints.sent == []


def test_a_shard_that_a_live_worker_holds_is_left_alone(bench: ShardBench, recovery: Recovery) -> None:
    (shard,) = bench.add_job(prompts(2))
    bench.real_store.work.lease(shard, "another", 60.0)
    assert recovery.recover() == 0


def test_an_expired_lease_is_hinted_at_once_however_long_the_queue_is(bench: ShardBench, recovery: Recovery) -> None:
    first, *_ = bench.add_job(prompts(6), shard_size=2)
    bench.real_store.work.lease(first, "crashed", 0.05)
    bench.hints.waiting = 5_000
    deadline = time.monotonic() + 60
    while not recovery.recover():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a lease ends by the server's clock alone
    assert bench.hints.sent == [first]
    assert recovery.recover() == 0


def test_one_search_hints_a_bounded_number(bench: ShardBench, recovery: Recovery) -> None:
    bench.add_job(prompts(RECOVERY_LIMIT + 10), shard_size=1)
    assert recovery.recover() == RECOVERY_LIMIT


def test_shards_of_another_model_are_not_ours(bench: ShardBench) -> None:
    bench.add_job(prompts(2))
    link = StoreLink(threading.Event())
    other = Recovery(store=bench.store, hints=bench.hints, model="other", interval_seconds=1.0, link=link)
    assert other.recover() == 0


def test_a_store_that_comes_back_is_searched_only_when_workers_have_had_time_to_write(bench: ShardBench) -> None:
    bench.add_job(prompts(2))
    bench.store.down = StoreUnavailable("it is not there")
    link, clock = StoreLink(threading.Event()), HandClock()
    recovery = Recovery(
        store=bench.store, hints=bench.hints, model=MODEL, interval_seconds=0.01, link=link, clock=clock
    )
    recovery.start()
    bench.store.wait_for_refused("recoverable_shards", 1)
    bench.store.mend()
    bench.hints.wait_for_looks(3)
    assert bench.hints.sent == []
    clock.advance(SETTLE_SECONDS)
    bench.hints.wait_for_sent(1)
    recovery.stop()
