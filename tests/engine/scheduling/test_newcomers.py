"""A flow that has just come need not wait until a full batch has a place for it."""

from __future__ import annotations

import pytest

from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from tests.engine.sequences import sequence

PAGE, SEQS = 4, 16
POLICY = SchedulingPolicy(SEQS, max_batched_tokens=64)
PLACES = POLICY.newcomer_places


def add(scheduler: Scheduler, count: int, flow: str, max_tokens: int = 40) -> list[Sequence]:
    new = [sequence(3, max_tokens, flow=flow) for _ in range(count)]
    for each in new:
        scheduler.add(each)
    return new


def step(scheduler: Scheduler) -> Batch:
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.advance(batch, [7] * len(batch.sampling))
    return batch


@pytest.fixture
def full() -> Scheduler:
    """Decodes as many lines of one flow as usually run together; more of them wait."""
    scheduler = Scheduler(PageAllocator(1000, PAGE), POLICY)
    add(scheduler, 2 * SEQS, "huge")
    step(scheduler)
    assert step(scheduler).phase == "decode"
    assert (scheduler.num_running, scheduler.num_waiting) == (SEQS, SEQS)
    return scheduler


def test_the_next_step_is_a_newcomers_prefill(full: Scheduler) -> None:
    small = add(full, 3, "small")
    batch = step(full)
    assert (batch.phase, batch.sequences) == ("prefill", tuple(small))
    assert full.num_running == SEQS + 3


def test_newcomers_do_not_wait_for_others_to_make_a_prefill_worthwhile() -> None:
    scheduler = Scheduler(PageAllocator(1000, PAGE), POLICY)
    add(scheduler, SEQS - 1, "huge")
    step(scheduler)
    add(scheduler, 1, "huge")
    assert step(scheduler).phase == "decode"
    (small,) = add(scheduler, 1, "small")
    assert small in step(scheduler).sequences


def test_a_batch_grows_by_a_quarter_at_the_most(full: Scheduler) -> None:
    for number in range(SEQS):
        add(full, 2, f"small-{number}")
    for _ in range(4):
        step(full)
    assert full.num_running == SEQS + PLACES


def test_a_flow_that_runs_already_is_no_newcomer(full: Scheduler) -> None:
    add(full, 1, "small")
    step(full)
    add(full, 1, "small")
    assert step(full).phase == "decode"


def test_nobody_follows_newcomers_until_the_batch_is_back_at_its_size(full: Scheduler) -> None:
    add(full, PLACES, "small", max_tokens=3)
    sizes = []
    while full.num_waiting >= SEQS:
        step(full)
        sizes.append(full.num_running)
    assert sizes[0] == SEQS + PLACES
    assert SEQS in sizes
    assert full.num_running <= SEQS


def test_a_flow_alone_fills_a_batch_and_no_more() -> None:
    scheduler = Scheduler(PageAllocator(1000, PAGE), SchedulingPolicy(SEQS, 1000))
    add(scheduler, 3 * SEQS, "huge")
    assert len(step(scheduler).sequences) == SEQS


def test_newcomers_take_no_pages_that_those_who_run_need() -> None:
    scheduler = Scheduler(PageAllocator(1 + 2 * SEQS, PAGE), POLICY)
    add(scheduler, SEQS, "huge", max_tokens=2)
    step(scheduler)
    add(scheduler, 1, "small")
    assert step(scheduler).phase == "decode"
