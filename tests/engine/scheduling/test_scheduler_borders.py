"""What the scheduler just takes, and what it tells others."""

from __future__ import annotations

import pytest

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from tests.engine.sequences import sequence

PAGE = 4


def scheduler_of(usable_pages: int) -> Scheduler:
    return Scheduler(PageAllocator(usable_pages + 1, PAGE), SchedulingPolicy(8, 32))


def test_a_sequence_that_just_fits_the_cache_is_taken_since_its_last_token_is_never_fed() -> None:
    scheduler = scheduler_of(2)
    scheduler.add(sequence(5, 4))
    assert scheduler.num_waiting == 1
    with pytest.raises(ValueError, match="a sequence of 9 tokens never fits 2 pages"):
        scheduler.add(sequence(5, 5))


def test_the_turn_that_is_served_is_that_of_the_sequence_let_in_last_and_never_goes_back() -> None:
    scheduler = scheduler_of(20)
    assert scheduler.turn == 0
    for turn in (3, 5):
        scheduler.add(sequence(3, 2, turn=turn))
    batch = scheduler.schedule()
    assert batch is not None
    assert scheduler.turn == 5
    scheduler.advance(batch, [1, 1])
    scheduler.add(sequence(3, 2, turn=1))
    assert scheduler.schedule() is not None
    assert scheduler.turn == 5


def test_no_more_prompts_enter_together_than_one_prefill_step_takes() -> None:
    scheduler = scheduler_of(100)
    for _ in range(3):
        scheduler.add(sequence(32, 2))
    assert scheduler.schedule() is not None
    assert (scheduler.num_running, scheduler.num_waiting) == (1, 2)


def test_a_flow_that_fills_the_batch_up_in_this_step_gets_no_place_beyond_it() -> None:
    scheduler = scheduler_of(100)
    for _ in range(6):
        scheduler.add(sequence(3, 9, flow="old"))
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.advance(batch, [1] * 6)
    for _ in range(10):
        scheduler.add(sequence(3, 9, flow="new"))
    assert scheduler.schedule() is not None
    assert scheduler.num_running == 8


def make_policy(max_num_seqs: int = 1, max_batched_tokens: int = 1, max_mixed_tokens: int = 1) -> SchedulingPolicy:
    return SchedulingPolicy(max_num_seqs, max_batched_tokens, max_mixed_tokens)


@pytest.mark.parametrize("limit", ["max_num_seqs", "max_batched_tokens", "max_mixed_tokens"])
def test_a_policy_that_could_never_run_a_step_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match=f"at least 1: .*{limit}=0"):
        make_policy(**{limit: 0})


def test_an_eighth_of_the_batch_or_128_tokens_are_just_worth_a_prefill() -> None:
    policy = SchedulingPolicy(max_num_seqs=8, max_batched_tokens=32)
    assert policy.prefill_is_worthwhile(1, num_running=7)
    assert not policy.prefill_is_worthwhile(127, num_running=8)
    assert policy.prefill_is_worthwhile(128, num_running=8)
