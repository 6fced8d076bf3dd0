"""Whatever urgent requests come, and however many, every line of a batch is finished."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from testing.models.fake_runner import CacheRunner
from tests.engine.sequences import sequence

PAGE, MAX_LEN = 4, 40


class FullLoad:
    """A scheduler for which more urgent requests wait than fit in its batch, before every step.

    Args:
        num_seqs: Sequences of the batch.
        urgent: Prompt tokens and new tokens of each urgent request.
        budget: Prompt tokens of a prefill step.
        num_pages: Pages of the cache.
        mixes: True if a step may both decode and prefill.
    """

    def __init__(
        self,
        num_seqs: int,
        urgent: tuple[int, int],
        *,
        budget: int = 16,
        num_pages: int = 1000,
        mixes: bool = False,
    ) -> None:
        self._now = 0.0
        policy = SchedulingPolicy(num_seqs, budget, max_mixed_tokens=5)
        self.scheduler = Scheduler(PageAllocator(num_pages, PAGE), policy, mixes=mixes, clock=lambda: self._now)
        self._runner = CacheRunner(PAGE)
        self._numbers = count()
        self._num_waiting = 2 * num_seqs + 2
        self._urgent = urgent

    def add(self, num_prompt_tokens: int, max_tokens: int, **more: Any) -> Sequence:
        """Let a sequence wait."""
        number = next(self._numbers)
        new = sequence(num_prompt_tokens, max_tokens, turn=number, number=number, **more)
        self.scheduler.add(new)
        return new

    def step(self) -> Batch:
        """Do one step. Its time is that of its sequences."""
        while sum(each.urgent for each in self.scheduler.sequences()) < self._num_waiting:
            self.add(*self._urgent, flow=f"urgent-{next(self._numbers)}", urgent=True)
        batch = self.scheduler.schedule()
        assert batch is not None
        self._now += 1.0 + len(batch.sequences)
        self.scheduler.advance(batch, self._runner.run(batch))
        return batch


@pytest.mark.parametrize("mixes", [False, True])
@pytest.mark.parametrize("urgent", [(1, 1), (1, 8), (20, 1), (20, 4)], ids=str)
@pytest.mark.parametrize("num_seqs", [1, 2, 3, 4, 5, 16])
def test_every_line_is_finished_beside_urgent_requests_without_end(
    num_seqs: int, urgent: tuple[int, int], mixes: bool
) -> None:
    load = FullLoad(num_seqs, urgent, mixes=mixes)
    lines = [load.add(4 + 3 * place, 10, flow=f"job-{place % 2}") for place in range(5)]
    for _ in range(1_500):
        load.step()
        if all(line.finish_reason is not None for line in lines):
            return
    raise AssertionError([line.num_generated for line in lines])


@pytest.mark.parametrize("num_seqs", [1, 3, 4, 16])
def test_every_line_is_finished_in_a_cache_that_urgent_requests_fill(num_seqs: int) -> None:
    load = FullLoad(num_seqs, (1, MAX_LEN - 1), num_pages=MAX_LEN // PAGE + 2)
    lines = [load.add(8, MAX_LEN - 8) for _ in range(3)]
    for _ in range(1_500):
        load.step()
        if all(line.finish_reason is not None for line in lines):
            return
    raise AssertionError([line.num_generated for line in lines])


@pytest.mark.parametrize("num_seqs", [1, 4])
def test_after_three_prefills_of_urgent_prompts_the_others_have_a_step(num_seqs: int) -> None:
    load = FullLoad(num_seqs, (16, 1))
    load.add(4, 20)
    batches = [load.step() for _ in range(60)]
    urgent_alone = "".join("u" if all(each.urgent for each in batch.sequences) else "." for batch in batches[10:])
    assert "uuuu" not in urgent_alone
    assert "uuu." in urgent_alone


def test_a_batch_of_one_place_has_a_second_one_for_a_line_beside_an_urgent_request() -> None:
    load = FullLoad(1, (3, 50))
    (line,) = [load.add(3, 20)]
    sizes = {len(load.step().sequences) for _ in range(40)}
    assert line.finish_reason is not None
    assert sizes == {1, 2}
