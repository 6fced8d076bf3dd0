"""A full worker begins a new job when it hears of it, not only when it looks by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.stores.protocol import JobStore
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.upkeep.notification_listener import NotificationListener

NEVER_SECONDS = 600.0


@pytest.fixture
def full(store: JobStore) -> Iterator[ShardBench]:
    """A worker that holds more lines than it can run, with a thread that waits and looks when it is told to, only."""
    with ShardBench(store, max_num_seqs=16, poll_seconds=NEVER_SECONDS) as bench:
        bench.engine.hold()
        for shard in bench.add_job(prompts(60), job_id="huge", shard_size=20):
            bench.start(shard)
        bench.engine.wait_for_submitted(40)
        bench.store.wait_for_calls("lease_next", 3)  # the third finds the engine full
        yield bench


def test_a_new_job_is_begun_when_it_is_opened(full: ShardBench) -> None:
    listener = NotificationListener(full.store, MODEL, full.active)
    listener.start()
    full.add_job(prompts(2), job_id="small")
    full.engine.wait_for_submitted(42)
    listener.stop()


def test_a_shard_that_ends_makes_room_at_once(full: ShardBench) -> None:
    full.engine.finish(20)
    full.engine.wait_for_submitted(60)


def test_a_worker_that_stops_does_not_wait_for_a_notification(full: ShardBench) -> None:
    full.active.stop()
    assert full.active.wait_until_idle(60)
    full.hints.wait_for_sent(3)


def test_a_store_in_trouble_wakes_nobody_and_a_job_added_meanwhile_does(full: ShardBench) -> None:
    listener = NotificationListener(full.store, MODEL, full.active)
    listener.listen()  # of the huge job
    full.active.stopping.set()  # pauses after trouble are over at once
    full.active.wakeup.clear()
    full.store.cut()
    listener.listen()
    assert not full.active.wakeup.is_set()
    full.add_job(prompts(2), job_id="small")
    full.store.mend()
    listener.listen()
    assert full.active.wakeup.is_set()
