"""What an outbox does with very many lines, and after a trouble that is over."""

from __future__ import annotations

import threading

from jobs.records.completion import Completion, Usage
from jobs.records.sampling import FinishReason
from testing.environment.hand_clock import HandClock
from tests.worker.shard_bench import ShardBench, prompts
from worker.shards.outbox import WRITE_LINES, Outbox
from worker.upkeep.store_link import StoreLink


def outbox_of(bench: ShardBench, lines: int, clock: HandClock) -> Outbox:
    (shard,) = bench.add_job(prompts(lines))
    lease = bench.real_store.work.lease(shard, "w", 60.0)
    assert lease is not None
    link = StoreLink(threading.Event(), clock)
    return Outbox(work=bench.store.work, lease=lease, flush_seconds=1.0, link=link, clock=clock)


def done(lines: range) -> list[Completion]:
    return [Completion(line, f"id-{line}", "text", FinishReason.STOP, Usage(1, 1)) for line in lines]


def test_more_lines_than_one_call_takes_are_all_stored(bench: ShardBench) -> None:
    outbox = outbox_of(bench, 2 * WRITE_LINES + 1, HandClock())
    outbox.add(done(range(2 * WRITE_LINES + 1)))
    outbox.write_all()
    assert (bench.job().done, len(outbox)) == (2 * WRITE_LINES + 1, 0)


def test_the_first_pause_of_a_new_trouble_is_short_again(bench: ShardBench) -> None:
    clock = HandClock()
    outbox = outbox_of(bench, 2, clock)
    bench.store.cut()
    outbox.add(done(range(1)))
    for _ in range(8):
        clock.advance(2.0)
        outbox.flush_if_due()
    bench.store.mend()
    clock.advance(2.0)
    outbox.flush_if_due()
    assert bench.job().done == 1
    bench.store.cut()
    outbox.add(done(range(1, 2)))
    clock.advance(1.0)
    outbox.flush_if_due()
    pause = outbox.seconds_until_due()
    assert pause is not None and pause <= 0.1
