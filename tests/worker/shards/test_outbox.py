"""Finished lines reach the store in small flushes, and wait for it when they must."""

from __future__ import annotations

import threading

import pytest

from jobs.errors import LeaseLost, StoreFull, StoreUnavailable
from jobs.records.completion import Completion, Usage
from jobs.records.sampling import FinishReason
from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import ShardBench, prompts
from worker.shards.outbox import FLUSH_LINES, Outbox
from worker.upkeep.store_link import StoreLink


def done(*indexes: int) -> list[Completion]:
    return [Completion(index, f"id-{index}", "text", FinishReason.STOP, Usage(1, 1)) for index in indexes]


class OutboxBench:
    """An outbox for a leased shard of 100 lines, under a clock of the test's."""

    def __init__(self, bench: ShardBench) -> None:
        (shard,) = bench.add_job(prompts(3 * FLUSH_LINES))
        lease = bench.real_store.work.lease(shard, "w", 60.0)
        assert lease is not None
        self.bench, self.lease, self.clock = bench, lease, HandClock()
        link = StoreLink(threading.Event(), self.clock)
        self.outbox = Outbox(work=bench.store.work, lease=lease, flush_seconds=1.0, link=link, clock=self.clock)

    @property
    def stored(self) -> int:
        return self.bench.job().done


@pytest.fixture
def outboxes(bench: ShardBench) -> OutboxBench:
    return OutboxBench(bench)


def test_a_finished_line_waits_for_others_until_its_time_is_up(outboxes: OutboxBench) -> None:
    assert outboxes.outbox.seconds_until_due() is None
    outboxes.outbox.add(done(0))
    assert outboxes.outbox.seconds_until_due() == pytest.approx(1.0)
    outboxes.clock.advance(0.6)
    outboxes.outbox.add(done(1))
    outboxes.outbox.flush_if_due()
    assert outboxes.stored == 0
    outboxes.clock.advance(0.4)
    outboxes.outbox.flush_if_due()
    assert (outboxes.stored, len(outboxes.outbox)) == (2, 0)
    assert outboxes.outbox.seconds_until_due() is None


def test_many_finished_lines_do_not_wait(outboxes: OutboxBench) -> None:
    outboxes.outbox.add(done(*range(FLUSH_LINES)))
    outboxes.outbox.flush_if_due()
    assert outboxes.stored == FLUSH_LINES


@pytest.mark.parametrize("error", [StoreUnavailable("it is not there"), StoreFull("it is full")])
def test_a_store_in_trouble_is_tried_again_with_growing_pauses(
    outboxes: OutboxBench, error: StoreUnavailable | StoreFull
) -> None:
    outboxes.bench.store.down = error
    outboxes.outbox.add(done(*range(FLUSH_LINES)))
    pauses = []
    for _ in range(8):
        outboxes.outbox.flush_if_due()
        pause = outboxes.outbox.seconds_until_due()
        assert pause is not None
        pauses.append(pause)
        outboxes.clock.advance(pause)
    assert 0.05 <= pauses[0] <= 0.1
    assert 1.0 <= pauses[-1] <= 2.0
    outboxes.outbox.add(done(*range(FLUSH_LINES, 2 * FLUSH_LINES)))
    outboxes.bench.store.mend()
    outboxes.outbox.flush_if_due()
    assert (outboxes.stored, len(outboxes.outbox)) == (2 * FLUSH_LINES, 0)


def test_new_lines_do_not_shorten_the_pause(outboxes: OutboxBench) -> None:
    outboxes.bench.store.cut()
    outboxes.outbox.add(done(*range(FLUSH_LINES)))
    outboxes.outbox.flush_if_due()
    outboxes.outbox.add(done(*range(FLUSH_LINES, 2 * FLUSH_LINES)))
    assert outboxes.outbox.seconds_until_due() != 0


def test_lines_of_a_lost_lease_are_refused(outboxes: OutboxBench) -> None:
    outboxes.bench.real_store.work.release(outboxes.lease)
    outboxes.outbox.add(done(0))
    with pytest.raises(LeaseLost):
        outboxes.outbox.write_all()
    assert outboxes.stored == 0
