"""A worker takes what it has room for, and a new job need not wait for room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.records.job import NewJob, ShardRef
from jobs.records.sampling import SamplingSettings
from jobs.stores.protocol import JobStore
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.shards.shard_dispatcher import LINES_AHEAD
from worker.shards.shard_runner import Outcome

SEQS = 16


@pytest.fixture
def small(store: JobStore) -> Iterator[ShardBench]:
    """A worker whose engine runs sixteen lines and holds them until it is told to finish."""
    with ShardBench(store, max_num_seqs=SEQS) as bench:
        bench.engine.hold()
        yield bench


def submitted(bench: ShardBench, count: int) -> None:
    bench.engine.wait_for_submitted(count)
    assert len(bench.engine.submitted) == count


def test_a_worker_takes_no_shard_that_it_has_no_room_for(small: ShardBench) -> None:
    shards = small.add_job(prompts(60), shard_size=20)
    running = [small.start(shard) for shard in shards]
    submitted(small, 40)  # the second shard begins with the last of the lines ahead
    assert SEQS + LINES_AHEAD <= 40
    small.engine.finish(9)
    small.engine.wait_for_submitted(60)
    small.engine.finish_from_now_on()
    assert {shard.outcome() for shard in running} == {Outcome.FINISHED}


def test_what_one_worker_has_no_room_for_another_one_takes(small: ShardBench) -> None:
    shards = small.add_job(prompts(60), shard_size=20)
    waiting = [small.start(shard) for shard in shards]
    small.engine.wait_for_submitted(40)
    with ShardBench(small.real_store) as other:
        assert other.runner.run(shards[2]) is Outcome.FINISHED
    small.engine.finish_from_now_on()
    assert sorted(shard.outcome() for shard in waiting) == [Outcome.FINISHED, Outcome.FINISHED, Outcome.NOTHING_TO_DO]


def test_a_new_job_is_begun_although_there_is_no_room(small: ShardBench) -> None:
    huge = small.add_job(prompts(200), job_id="huge", shard_size=20)
    running = [small.start(shard) for shard in huge[:3]]
    submitted(small, 40)
    small.add_job(prompts(2), job_id="small")
    # The hint that brings it is the huge job's: the third thread has been waiting with it.
    submitted(small, 42)
    assert small.job("small").state == "in_progress"
    small.engine.finish_from_now_on()
    assert {shard.outcome() for shard in running} == {Outcome.FINISHED}
    assert small.texts("small") == ["0p", "1p"]


def test_a_new_job_of_a_lower_priority_waits_for_its_turn(small: ShardBench) -> None:
    spec = NewJob("high", MODEL, "native", SamplingSettings(), 5, 60, 20, "file", created_at=1.0, priority=1)
    small.real_store.submissions.create(spec)
    for index in range(3):
        small.real_store.submissions.add_shard(ShardRef("high", index), prompts(60)[20 * index : 20 * index + 20])
    running = [small.start(shard) for shard in small.real_store.submissions.open("high")]
    submitted(small, 40)
    (shard,) = small.add_job(prompts(2), job_id="low")
    late = small.start(shard)
    small.store.wait_for_calls("lease_next", 6)  # two for shards, the others find the engine full
    assert small.job("low").state == "queued"
    small.engine.finish_from_now_on()
    assert {shard.outcome() for shard in (*running, late)} == {Outcome.FINISHED}
    assert small.texts("low") == ["0p", "1p"]


def test_a_thread_that_waits_for_room_hands_its_hint_on_when_the_worker_stops(small: ShardBench) -> None:
    shards = small.add_job(prompts(60), shard_size=20)
    running = [small.start(shard) for shard in shards]
    submitted(small, 40)
    small.active.stop()
    assert {shard.outcome() for shard in running} == {Outcome.HANDED_BACK}
    assert len(small.hints.sent) == len(shards)  # which of them a hint names means nothing


def test_a_worker_that_drains_finishes_what_it_has_and_takes_no_more(small: ShardBench) -> None:
    shards = small.add_job(prompts(60), shard_size=20)
    running = [small.start(shard) for shard in shards]
    submitted(small, 40)
    small.active.draining.set()
    small.engine.finish_from_now_on()
    assert sorted(shard.outcome() for shard in running) == [Outcome.FINISHED, Outcome.FINISHED, Outcome.HANDED_BACK]
    assert small.job().completed == 40
    assert len(small.hints.sent) == 1
