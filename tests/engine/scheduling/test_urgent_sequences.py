"""Urgent sequences enter a full batch at once, and the others keep their share of it."""

from __future__ import annotations

from itertools import count

import pytest

from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from testing.models.fake_runner import CacheRunner
from tests.engine.sequences import sequence

PAGE, SEQS = 4, 16
POLICY = SchedulingPolicy(SEQS, max_batched_tokens=64)
LONG = 24  # new tokens of a line
_flows = count()


class Machine:
    """A scheduler with a runner, whose completions depend on every token in the cache."""

    def __init__(self, num_pages: int = 1000, policy: SchedulingPolicy = POLICY) -> None:
        self.scheduler = Scheduler(PageAllocator(num_pages, PAGE), policy)
        self._runner = CacheRunner(PAGE)
        self.finished: list[Sequence] = []

    def add(self, number: int, max_tokens: int = LONG, flow: str = "huge") -> list[Sequence]:
        """Let lines of a batch wait."""
        return self._waiting([sequence(3, max_tokens, flow=flow, turn=place) for place in range(number)])

    def add_urgent(self, number: int, max_tokens: int = LONG, num_prompt_tokens: int = 3) -> list[Sequence]:
        """Let urgent requests wait, each in a flow of its own."""
        return self._waiting(
            [sequence(num_prompt_tokens, max_tokens, flow=f"urgent-{next(_flows)}", urgent=True) for _ in range(number)]
        )

    def _waiting(self, new: list[Sequence]) -> list[Sequence]:
        for each in new:
            self.scheduler.add(each)
        return new

    def step(self) -> Batch:
        batch = self.scheduler.schedule()
        assert batch is not None
        self.finished += self.scheduler.advance(batch, self._runner.run(batch))
        return batch

    def finish(self) -> None:
        while (batch := self.scheduler.schedule()) is not None:
            self.finished += self.scheduler.advance(batch, self._runner.run(batch))

    def running(self, lines: list[Sequence]) -> int:
        return sum(bool(each.page_table) for each in lines)


@pytest.fixture
def machine() -> Machine:
    """Decodes a full batch; as many lines wait."""
    machine = Machine()
    machine.add(2 * SEQS)
    machine.step()
    assert machine.step().phase == "decode"
    return machine


def test_the_next_step_is_the_prefill_of_urgent_prompts_alone(machine: Machine) -> None:
    machine.add(1, flow="small")
    urgent = machine.add_urgent(2)
    batch = machine.step()
    assert (batch.phase, batch.sequences) == ("prefill", tuple(urgent))


def test_an_urgent_request_enters_before_lines_that_wait_longer() -> None:
    machine = Machine()
    machine.add(3 * SEQS)
    (urgent,) = machine.add_urgent(1)
    assert machine.step().sequences == (urgent,)


def test_urgent_requests_come_in_the_order_of_their_arrival() -> None:
    machine = Machine(policy=SchedulingPolicy(2, max_batched_tokens=64))
    first, second, third = machine.add_urgent(3)
    assert machine.step().sequences == (first, second)
    assert not third.page_table


def test_urgent_requests_use_the_places_of_newcomers_before_a_line_gives_way(machine: Machine) -> None:
    lines = list(machine.scheduler.sequences())
    urgent = machine.add_urgent(POLICY.newcomer_places)
    machine.step()
    assert machine.running(urgent) == POLICY.newcomer_places
    assert machine.running(lines) == SEQS
    assert not any(line.gave_way for line in lines)


def test_the_line_served_last_gives_its_place_to_an_urgent_request(machine: Machine) -> None:
    lines = [each for each in machine.scheduler.sequences() if each.page_table]
    urgent = machine.add_urgent(POLICY.newcomer_places + 1)
    machine.step()
    assert machine.running(urgent) == len(urgent)
    assert [line.gave_way for line in lines] == [False] * (SEQS - 1) + [True]
    assert not lines[-1].page_table


def test_lines_keep_a_quarter_of_the_places(machine: Machine) -> None:
    lines = list(machine.scheduler.sequences())
    urgent = machine.add_urgent(3 * SEQS)
    for _ in range(6):
        machine.step()
    assert machine.running(urgent) == POLICY.urgent_places == 12
    assert machine.running(lines) >= POLICY.ordinary_places == 4


def test_lines_that_wait_get_their_quarter_beside_urgent_requests() -> None:
    machine = Machine()
    machine.add_urgent(3 * SEQS)
    machine.step()
    lines = machine.add(SEQS)
    for _ in range(2 * LONG):
        machine.step()
    assert machine.running(lines) >= POLICY.ordinary_places


def test_without_lines_urgent_requests_have_the_whole_batch() -> None:
    machine = Machine()
    urgent = machine.add_urgent(2 * SEQS)
    for _ in range(4):
        machine.step()
    assert machine.running(urgent) == POLICY.max_running


def test_no_line_gives_way_twice() -> None:
    machine = Machine(policy=SchedulingPolicy(4, max_batched_tokens=64))
    lines = machine.add(4)
    machine.step()
    for _ in range(8):
        machine.add_urgent(3, max_tokens=2)
        before = {line for line in lines if line.gave_way and line.page_table}
        machine.step()
        assert all(line.page_table for line in before)
        for _ in range(4):
            machine.step()
    assert any(line.gave_way for line in lines)


def test_urgent_requests_never_stop_the_lines() -> None:
    machine = Machine(num_pages=40)
    lines = machine.add(2 * SEQS, max_tokens=8)
    for _ in range(300):
        if machine.scheduler.num_waiting < 20:
            machine.add_urgent(20, max_tokens=4)
        machine.step()
    assert all(line.finish_reason is not None for line in lines)


def test_lines_give_way_when_pages_are_short() -> None:
    machine = Machine(num_pages=2 * SEQS + 2)
    lines = machine.add(SEQS, max_tokens=6)
    machine.step()
    (urgent,) = machine.add_urgent(1, num_prompt_tokens=5 * PAGE)
    assert machine.step().sequences == (urgent,)
    assert 0 < sum(line.gave_way for line in lines) < SEQS - POLICY.ordinary_places


def test_a_huge_urgent_prompt_waits_while_only_a_quarter_of_the_lines_runs() -> None:
    machine = Machine(num_pages=2 * SEQS + 2)
    lines = machine.add(SEQS)
    machine.step()
    (urgent,) = machine.add_urgent(1, max_tokens=4, num_prompt_tokens=28 * PAGE)
    machine.step()
    assert not urgent.page_table
    assert machine.running(lines) == POLICY.ordinary_places
    machine.finish()
    assert urgent.finish_reason is not None


def test_texts_do_not_depend_on_urgent_requests() -> None:
    machine = Machine(num_pages=80)
    lines = machine.add(SEQS)
    for _ in range(30):
        machine.add_urgent(3, max_tokens=5)
        machine.step()
    machine.finish()
    assert any(line.gave_way for line in lines)
    assert all(list(line.generated) == generated_alone(line) for line in lines)


def generated_alone(line: Sequence) -> list[int]:
    machine = Machine()
    copy = Sequence(line.ticket, line.stop_checker, line.priority)
    machine.scheduler.add(copy)
    machine.finish()
    return list(copy.generated)


def test_a_further_choice_of_an_urgent_request_enters_without_delay(machine: Machine) -> None:
    choices = [sequence(3, LONG, flow="urgent", urgent=True) for _ in range(2)]
    for choice in choices:
        machine.scheduler.add(choice)
        assert machine.step().sequences == (choice,)


def test_urgent_requests_do_not_move_the_turns_of_lines(machine: Machine) -> None:
    before = machine.scheduler.turn
    machine.add_urgent(5)
    machine.step()
    assert machine.scheduler.turn == before


def test_urgent_flows_decode_in_short_steps() -> None:
    now = [0.0]
    scheduler = Scheduler(PageAllocator(1000, PAGE), POLICY, clock=lambda: now[0])
    machine = Machine()
    machine.scheduler = scheduler
    machine.add(2 * SEQS)
    for _ in range(4):
        now[0] += 1.6
        machine.step()
    machine.add_urgent(2)
    sizes = []
    for _ in range(5):
        batch = scheduler.schedule()
        assert batch is not None
        now[0] += 0.1 * len(batch.sequences)
        scheduler.advance(batch, [7] * len(batch.sampling))
        sizes.append(len(batch.sequences))
    assert sizes == [2, 2, SEQS + 2, 2, SEQS + 2]
