"""Sequences that a small KV cache keeps out of a batch that has places for them: counted, and nothing else is."""

from __future__ import annotations

import pytest

from engine.engine import Engine
from engine.request import GroupStats, Request, Utilization
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import CacheRunner
from tests.engine.conftest import MakeEngine
from tests.engine.sequences import sequence

TOKENS = 40  # of a completion: ten pages of four, and one for its prompt
SEQUENCES = 8


def stats_of(engine: Engine, number: int = SEQUENCES) -> GroupStats:
    """What was counted of so many equal requests, from the first step to the last."""
    params = SamplingParams(max_tokens=TOKENS, ignore_eos=True)
    tickets = engine.submit_many(Request((1, 2, 3, 4), params, group="group") for _ in range(number))
    for ticket in tickets:
        ticket.future.result(timeout=60)
    return engine.take_group_stats("group")


def test_what_a_small_cache_keeps_out_is_counted_and_the_size_that_was_wanted_is_enough(
    make_engine: MakeEngine,
) -> None:
    small = 28  # pages: fewer than those of three whole sequences, and the sink
    stats = stats_of(make_engine(CacheRunner(page_size=4), num_pages=small))
    assert 0.5 * stats.decode_steps < stats.cache_short_steps <= stats.decode_steps
    running = stats.cache_short_running_sum / stats.cache_short_steps
    waiting = stats.cache_short_waiting_sum / stats.cache_short_steps
    assert 2 <= running <= 6
    assert running + waiting <= SEQUENCES
    assert waiting >= 1
    enough = round(small * stats.cache_wanted_peak)
    assert enough <= 3 * SEQUENCES * 11
    roomy = stats_of(make_engine(CacheRunner(page_size=4), num_pages=enough))
    assert roomy.cache_short_steps <= 0.1 * roomy.decode_steps


def test_a_large_cache_holds_nobody_back_however_many_wait(make_engine: MakeEngine) -> None:
    stats = stats_of(make_engine(CacheRunner(page_size=4), num_pages=200), number=5 * SEQUENCES)
    assert stats.decode_steps > 0
    assert (stats.cache_short_steps, stats.cache_wanted_peak) == (0, 0)


def test_who_waits_for_a_place_in_a_full_batch_is_not_held_back_by_the_cache() -> None:
    scheduler = Scheduler(PageAllocator(8, page_size=4), SchedulingPolicy(2, 64))
    for _ in range(5):
        scheduler.add(sequence(4, 4))
    scheduler.schedule()
    assert (scheduler.num_running, scheduler.num_waiting, scheduler.num_held_back) == (2, 3, 0)


def test_only_as_many_are_held_back_as_the_batch_has_places_for() -> None:
    scheduler = Scheduler(PageAllocator(6, page_size=4), SchedulingPolicy(4, 64))
    for _ in range(9):
        scheduler.add(sequence(4, 8))
    scheduler.schedule()
    assert (scheduler.num_running, scheduler.num_held_back) == (3, 1)


def test_the_first_steps_tell_the_cache_that_sequences_of_known_length_want_at_their_end() -> None:
    allocator = PageAllocator(13, page_size=4)  # 12 pages and the sink
    scheduler = Scheduler(allocator, SchedulingPolicy(8, 64))
    for _ in range(8):
        scheduler.add(sequence(4, 37, ignore_eos=True))  # ten pages at the end
    for _ in range(2):  # the second time, the sequences run
        scheduler.schedule()
    running, held_back = scheduler.num_running, scheduler.num_held_back
    assert (running, held_back) == (6, 2)
    growth = scheduler.admission.pages_to_come / allocator.num_usable
    wanted = Utilization(running=running, held_back=held_back, kv_cache_usage=allocator.usage, growth=growth)
    assert wanted.cache_wanted * allocator.num_usable == pytest.approx(8 * 10)


@pytest.mark.parametrize(("running", "wanted"), [(2, 4.0), (8, 1.75)])
def test_the_cache_that_is_wanted_follows_from_the_pages_of_those_that_run(running: int, wanted: float) -> None:
    utilization = Utilization(running=running, waiting=9, kv_cache_usage=1.0, output_tokens=0, held_back=6)
    assert utilization.cache_wanted == wanted


def test_a_cache_that_holds_short_sequences_back_is_told_to_be_larger_than_it_is(make_engine: MakeEngine) -> None:
    """Each sequence has one page, and keeps one page free to grow into: half of the cache stays empty."""
    params = SamplingParams(max_tokens=3, ignore_eos=True)
    engine = make_engine(CacheRunner(page_size=4), num_pages=9)  # 8 pages and the sink, for a batch of 8
    tickets = engine.submit_many(Request((number, 2), params, group="group") for number in range(24))
    for ticket in tickets:
        ticket.future.result(timeout=60)
    stats = engine.take_group_stats("group")
    assert stats.cache_short_steps > 0
    assert stats.kv_cache_usage_peak <= 0.5
    assert 1.5 <= stats.cache_wanted_peak <= 2.5
