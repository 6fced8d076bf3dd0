"""A small flow in a full batch takes steps of its own where those are much shorter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from tests.engine.sequences import sequence

SEQS, SMALL = 16, 2
Sizes = list[int]  # sequences of one decode step after the other


class Steps:
    """Runs steps whose time follows from how many sequences they have."""

    def __init__(self, seconds_of: Callable[[int], float]) -> None:
        self._now = 0.0
        self._seconds_of = seconds_of
        self.scheduler = Scheduler(
            PageAllocator(1000, 4), SchedulingPolicy(SEQS, max_batched_tokens=64), clock=lambda: self._now
        )

    def add(self, count: int, flow: str, max_tokens: int = 60) -> None:
        for _ in range(count):
            self.scheduler.add(sequence(3, max_tokens, flow=flow))

    def run(self, count: int) -> Sizes:
        """So many steps; the sizes of those that decode."""
        sizes = []
        for _ in range(count):
            batch = self.scheduler.schedule()
            if batch is None:
                break
            self._now += self._seconds_of(len(batch.sequences))
            self.scheduler.advance(batch, [7] * len(batch.sampling))
            if batch.phase == "decode":
                sizes.append(len(batch.sequences))
        return sizes


def by_rows(count: int) -> float:
    """As a small model on a CPU."""
    return 0.1 * count


def by_weights(_: int) -> float:
    """As a large model, whose weights are read at every step."""
    return 1.0


def test_where_rows_cost_time_every_second_step_is_of_the_small_flow_alone() -> None:
    steps = Steps(by_rows)
    steps.add(2 * SEQS, "huge")
    assert steps.run(4) == [SEQS] * 3
    steps.add(SMALL, "small")
    assert steps.run(7) == [SMALL, SEQS + SMALL] * 3


def test_one_short_step_that_was_held_up_is_not_the_last() -> None:
    hiccups = iter([0.0] * 8 + [9.0] + [0.0] * 100)
    steps = Steps(lambda count: by_rows(count) + next(hiccups))
    steps.add(2 * SEQS, "huge")
    steps.run(4)
    steps.add(SMALL, "small")
    assert steps.run(9).count(SMALL) == 4


def test_where_they_cost_nothing_one_step_finds_out() -> None:
    steps = Steps(by_weights)
    steps.add(2 * SEQS, "huge")
    steps.run(4)
    steps.add(SMALL, "small")
    assert sorted(steps.run(7)) == [SMALL] + [SEQS + SMALL] * 5


def test_a_flow_that_has_more_to_come_is_not_small() -> None:
    steps = Steps(by_rows)
    for flow in ("one", "other"):
        steps.add(2 * SEQS, flow)
    assert set(steps.run(10)) == {SEQS + SEQS // 4}  # the second one came new


def test_small_flows_among_themselves_share_every_step() -> None:
    steps = Steps(by_rows)
    for number in range(4):
        steps.add(SMALL, f"small-{number}")
    assert set(steps.run(10)) == {4 * SMALL}


def test_a_flow_alone_has_no_short_steps_not_even_at_its_end() -> None:
    steps = Steps(by_rows)
    steps.add(SEQS, "huge", max_tokens=5)
    steps.add(1, "huge", max_tokens=20)
    assert steps.run(40) == [SEQS] * 4 + [1] * 19


@pytest.mark.parametrize("seconds_of", [by_rows, by_weights])
def test_all_of_both_come_to_their_end(seconds_of: Callable[[int], float]) -> None:
    steps = Steps(seconds_of)
    steps.add(2 * SEQS, "huge", max_tokens=9)
    steps.run(3)
    steps.add(SMALL, "small", max_tokens=30)
    steps.run(200)
    assert (steps.scheduler.num_running, steps.scheduler.num_waiting) == (0, 0)
    assert steps.scheduler.page_allocator.usage == 0


def test_one_short_step_that_the_machine_held_up_does_not_end_them() -> None:
    held_up = 0.0
    steps = Steps(lambda count: by_rows(count) + (held_up if count == SMALL else 0.0))
    steps.add(2 * SEQS, "huge")
    steps.run(4)
    steps.add(SMALL, "small")
    assert steps.run(3) == [SMALL, SEQS + SMALL]
    held_up = 60.0
    assert steps.run(2) == [SMALL, SEQS + SMALL]
    held_up = 0.0
    assert steps.run(4) == [SMALL, SEQS + SMALL] * 2
