"""Whatever arrives, is aborted or pre-empted: no page leaks, budgets hold, all finish with their own tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from testing.models.fake_runner import CacheRunner
from tests.engine.sequences import sequence

PAGE, NUM_PAGES, MAX_SEQS, BUDGET, MAX_LEN = 4, 12, 5, 16, 40
NUM_IDS = 3  # so few that guesses of next tokens are often right


def make(num_pages: int, **options: Any) -> Scheduler:
    policy = SchedulingPolicy(MAX_SEQS, BUDGET, max_mixed_tokens=5, min_copied_tokens=2)
    return Scheduler(PageAllocator(num_pages, PAGE), policy, **options)


class SchedulerMachine(RuleBasedStateMachine):
    mixes = False
    row_cost: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0  # real time would let two runs of one example differ
        self.scheduler = make(NUM_PAGES, mixes=self.mixes, row_cost=self.row_cost, clock=lambda: self.now)
        self.runner = CacheRunner(PAGE, NUM_IDS)
        self.turn = self.submitted = 0
        self.unfinished: list[Sequence] = []
        self.finished: list[Sequence] = []

    @rule(
        lengths=st.lists(
            st.tuples(st.integers(1, MAX_LEN - 1), st.integers(0, MAX_LEN), st.integers(1, MAX_LEN), st.booleans()),
            min_size=1,
            max_size=4,
        ),
        flow=st.sampled_from("abc"),
        urgent=st.booleans(),
    )
    def submit(self, lengths: list[tuple[int, int, int, bool]], flow: str, urgent: bool) -> None:
        self.turn += 1
        for num_prompt_tokens, shared, max_tokens, ignore_eos in lengths:
            max_new = min(max_tokens, MAX_LEN - num_prompt_tokens)
            facts: dict[str, Any] = {"num_shared": shared, "ignore_eos": ignore_eos, "urgent": urgent}
            facts["number"] = self.submitted  # Hypothesis repeats examples: the same calls must give the same prompts
            flow = f"urgent-{self.turn}" if urgent else flow
            new = sequence(num_prompt_tokens, max_new, turn=self.turn, flow=flow, **facts)
            self.submitted += 1
            self.scheduler.add(new)
            self.unfinished.append(new)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(self.unfinished))
        self.unfinished.remove(victim)
        self.scheduler.abort(victim)

    @rule(steps=st.integers(1, 30))
    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> bool:
        batch = self.scheduler.schedule()
        assert (batch is None) == (not self.unfinished)
        if batch is None:
            return False
        assert 0 < len(batch.sequences) <= MAX_SEQS + MAX_SEQS // 4
        assert sum(batch.num_tokens[batch.num_decodes :]) <= BUDGET
        assert batch.num_kernel_sequences <= MAX_SEQS + MAX_SEQS // 4
        assert self.mixes or batch.phase != "mixed"
        self.now += 1.0 + len(batch.sequences)
        done = self.scheduler.advance(batch, self.runner.run(batch))
        for each in done:
            self.unfinished.remove(each)
        self.finished += done
        return True

    @invariant()
    def no_page_leaks(self) -> None:
        self.scheduler.page_allocator.check_integrity([each.page_table for each in self.unfinished])
        assert set(self.scheduler.sequences()) == set(self.unfinished)

    def teardown(self) -> None:
        while self.step():
            pass
        assert self.scheduler.page_allocator.usage == 0
        for each in self.finished:
            assert list(each.generated) == alone(each)  # whoever ran beside it, and whatever it found in the cache


def alone(original: Sequence) -> list[int]:
    scheduler, runner = make(num_pages=100), CacheRunner(PAGE, NUM_IDS)
    copy = Sequence(original.ticket, original.stop_checker, original.priority)
    scheduler.add(copy)
    while batch := scheduler.schedule():
        scheduler.advance(batch, runner.run(batch))
    return list(copy.generated)


class MixingSchedulerMachine(SchedulerMachine):
    mixes = True
    row_cost = 0.0  # so tokens are guessed, too


SETTINGS = settings(max_examples=25, stateful_step_count=20, deadline=None)
SchedulerMachine.TestCase.settings = MixingSchedulerMachine.TestCase.settings = SETTINGS
TestScheduler = SchedulerMachine.TestCase
TestMixingScheduler = MixingSchedulerMachine.TestCase


@pytest.mark.slow
class TestSchedulerForLong(SchedulerMachine.TestCase):  # type: ignore[misc, valid-type]
    """The same laws with more examples."""

    settings = settings(SETTINGS, max_examples=100)


@pytest.mark.slow
class TestMixingSchedulerForLong(MixingSchedulerMachine.TestCase):  # type: ignore[misc, valid-type]
    """The same laws with more examples, for steps that decode and prefill."""

    settings = settings(SETTINGS, max_examples=100)
