"""Shards that nobody works on get a new hint, and a long queue is not flooded."""

from __future__ import annotations

import threading
import time

import pytest

from jobs.errors import StoreUnavailable
from tests.worker.fake_clock import FakeClock
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.upkeep.reaper import SETTLE_SECONDS, SWEEP_LIMIT, Reaper
from worker.upkeep.store_link import StoreLink


@pytest.fixture
def reaper(bench: ShardBench) -> Reaper:
    """A reaper whose sweeps the test runs itself: it is never started."""
    link = StoreLink(threading.Event())
    return Reaper(store=bench.store, hints=bench.hints, model=MODEL, interval_seconds=1.0, link=link)


def test_shards_whose_messages_were_lost_are_hinted_again(bench: ShardBench, reaper: Reaper) -> None:
    shards = bench.add_job(prompts(6), shard_size=2)
    assert reaper.sweep() == 3
    assert sorted(bench.hints.sent) == shards


def test_shards_whose_messages_still_wait_are_left_alone(bench: ShardBench, reaper: Reaper) -> None:
    bench.add_job(prompts(6), shard_size=2)
    bench.hints.waiting = 1
    assert reaper.sweep() == 0
    assert bench.hints.sent == []


def test_a_shard_that_a_live_worker_holds_is_left_alone(bench: ShardBench, reaper: Reaper) -> None:
    (shard,) = bench.add_job(prompts(2))
    bench.real_store.lease(shard, "another", 60.0)
    assert reaper.sweep() == 0


def test_an_expired_lease_is_hinted_at_once_however_long_the_queue_is(bench: ShardBench, reaper: Reaper) -> None:
    first, *_ = bench.add_job(prompts(6), shard_size=2)
    bench.real_store.lease(first, "crashed", 0.05)
    bench.hints.waiting = 5_000
    deadline = time.monotonic() + 60
    while not reaper.sweep():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a lease ends by the server's clock alone
    assert bench.hints.sent == [first]
    assert reaper.sweep() == 0


def test_one_sweep_hints_a_bounded_number(bench: ShardBench, reaper: Reaper) -> None:
    bench.add_job(prompts(SWEEP_LIMIT + 10), shard_size=1)
    assert reaper.sweep() == SWEEP_LIMIT


def test_shards_of_another_model_are_not_ours(bench: ShardBench) -> None:
    bench.add_job(prompts(2))
    link = StoreLink(threading.Event())
    other = Reaper(store=bench.store, hints=bench.hints, model="other", interval_seconds=1.0, link=link)
    assert other.sweep() == 0


def test_a_store_that_comes_back_is_swept_only_when_workers_have_had_time_to_write(bench: ShardBench) -> None:
    bench.add_job(prompts(2))
    bench.store.down = StoreUnavailable("it is not there")
    link, clock = StoreLink(threading.Event()), FakeClock()
    reaper = Reaper(store=bench.store, hints=bench.hints, model=MODEL, interval_seconds=0.01, link=link, clock=clock)
    reaper.start()
    bench.store.wait_for_refused("stranded", 1)
    bench.store.mend()
    bench.hints.wait_for_looks(3)
    assert bench.hints.sent == []
    clock.advance(SETTLE_SECONDS)
    bench.hints.wait_for_sent(1)
    reaper.stop()
