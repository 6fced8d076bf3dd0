"""A full worker begins a new job when it hears of it, not only when it looks by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.stores.protocol import JobStore
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.shards import turns
from worker.upkeep.news import News

NEVER_SECONDS = 600.0


@pytest.fixture
def full(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardBench]:
    """A worker that holds more lines than it can run, with a thread that waits and looks when it is told to, only."""
    monkeypatch.setattr(turns, "POLL_SECONDS", NEVER_SECONDS)
    with ShardBench(store, max_num_seqs=16) as bench:
        bench.engine.hold()
        for shard in bench.add_job(prompts(60), job_id="huge", shard_size=20):
            bench.start(shard)
        bench.engine.wait_for_submitted(40)
        bench.store.wait_for_calls("lease_next", 3)  # the third finds the engine full
        yield bench


def test_a_new_job_is_begun_when_it_is_opened(full: ShardBench) -> None:
    news = News(full.store, MODEL, full.active)
    news.start()
    full.add_job(prompts(2), job_id="small")
    full.engine.wait_for_submitted(42)
    news.stop()


def test_a_shard_that_ends_makes_room_at_once(full: ShardBench) -> None:
    full.engine.finish(20)
    full.engine.wait_for_submitted(60)


def test_a_worker_that_stops_does_not_wait_for_news(full: ShardBench) -> None:
    full.active.stop()
    assert full.active.wait_until_idle(60)
    full.hints.wait_for_sent(3)


def test_a_store_in_trouble_is_no_news_and_what_came_meanwhile_is(full: ShardBench) -> None:
    news = News(full.store, MODEL, full.active)
    news.listen()  # of the huge job
    full.active.stopping.set()  # pauses after trouble are over at once
    full.active.stirred.clear()
    full.store.cut()
    news.listen()
    assert not full.active.stirred.is_set()
    full.add_job(prompts(2), job_id="small")
    full.store.mend()
    news.listen()
    assert full.active.stirred.is_set()
