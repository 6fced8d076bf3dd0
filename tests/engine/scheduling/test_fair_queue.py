"""Jobs share the engine line by line, whatever waits of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.engine import Engine
from engine.request import Request
from engine.scheduling.fair_queue import FLOWS_KEPT, LINES_PER_TURN, FairQueue
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import EOS, ByteTokenizer, TableRunner


def test_a_flows_lines_take_turns_one_after_the_other() -> None:
    queue = FairQueue()
    assert queue.take("job", 6, now=0) == [0, 0, 0, 0, 1, 1]
    assert queue.take("job", 3, now=0) == [1, 1, 2]


def test_a_newcomer_begins_with_the_turn_that_is_served_now() -> None:
    queue = FairQueue()
    assert queue.take("huge", 400, now=0)[-1] == 99
    assert queue.take("small", 2, now=10) == [10, 10]


def test_a_flow_that_was_away_saves_no_turns_up() -> None:
    queue = FairQueue()
    queue.take("job", 4, now=0)
    assert queue.take("job", 1, now=50) == [50]


def test_flows_that_have_gone_are_forgotten() -> None:
    queue = FairQueue()
    for number in range(3 * FLOWS_KEPT):
        queue.take(f"job-{number}", 1, now=number)
    assert len(queue._next_line) <= FLOWS_KEPT + 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), min_size=1, max_size=20))
def test_between_two_flows_that_wait_neither_gets_more_than_two_turns_ahead(submitted: list[tuple[str, int]]) -> None:
    """Of lines that are all there from the start: served in order of their turns, the shares stay equal."""
    queue = FairQueue()
    lines = sorted((turn, flow) for flow, count in submitted for turn in queue.take(flow, count, now=0))
    totals = {flow: sum(count for name, count in submitted if name == flow) for flow, _ in submitted}
    served = dict.fromkeys(totals, 0)
    for _, flow in lines:
        served[flow] += 1
        waiting = [name for name, total in totals.items() if served[name] < total]
        assert all(served[flow] - served[name] <= 2 * LINES_PER_TURN for name in waiting)


def test_a_few_lines_behind_many_are_done_long_before_these() -> None:
    scheduler = Scheduler(PageAllocator(num_pages=65, page_size=4), SchedulingPolicy(4, 64))
    engine = Engine(
        scheduler=scheduler, runner=TableRunner({}), detokenizer=ByteTokenizer(), eos_token_ids=(EOS,), max_model_len=64
    )
    params = SamplingParams(max_tokens=3, ignore_eos=True)
    ended: list[str] = []
    huge = engine.submit_many([Request((number, 7), params, flow="huge") for number in range(60)])
    small = engine.submit_many([Request((number, 9), params, flow="small") for number in range(4)])
    for name, tickets in (("huge", huge), ("small", small)):
        for ticket in tickets:
            ticket.future.add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
    engine.start()
    for ticket in (*huge, *small):
        ticket.future.result(120)
    engine.shutdown()
    assert max(place for place, name in enumerate(ended) if name == "small") < 16
