from __future__ import annotations

import pytest

from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from testing.models.fake_runner import CacheRunner
from tests.engine.sequences import sequence

PAGE = 4


def make(
    num_pages: int = 100, max_num_seqs: int = 8, max_batched_tokens: int = 32, *, mixes: bool = False
) -> Scheduler:
    policy = SchedulingPolicy(max_num_seqs, max_batched_tokens, max_mixed_tokens=10)
    return Scheduler(PageAllocator(num_pages, PAGE), policy, mixes=mixes)


def drain(scheduler: Scheduler, runner: CacheRunner) -> list[Sequence]:
    """Run to the end. Returns the sequences in the order in which they finished."""
    finished = []
    while batch := scheduler.schedule():
        finished += scheduler.advance(batch, runner.run(batch))
        scheduler.page_allocator.check_integrity([s.page_table for s in scheduler.sequences()])
    assert scheduler.page_allocator.num_free == scheduler.page_allocator.num_usable
    return finished


def alone(original: Sequence, max_batched_tokens: int = 32) -> list[int]:
    """What a sequence generates with nobody beside it and pages in plenty."""
    scheduler = make(max_batched_tokens=max_batched_tokens)
    copy = Sequence(original.ticket, original.stop_checker, original.priority)
    scheduler.add(copy)
    drain(scheduler, CacheRunner(PAGE))
    return list(copy.generated)


def test_several_prompts_share_a_prefill_step_up_to_the_token_budget() -> None:
    scheduler = make()
    sequences = [sequence(12, 3) for _ in range(3)]
    for each in sequences:
        scheduler.add(each)
    first = scheduler.schedule()
    assert first is not None and first.phase == "prefill"
    assert first.sequences == tuple(sequences[:2])
    assert first.num_tokens == (12, 12)
    scheduler.advance(first, [1, 1])
    second = scheduler.schedule()
    assert second is not None and second.phase == "prefill"
    assert second.sequences == (sequences[2],)


def test_a_prompt_longer_than_the_budget_is_cut_at_multiples_of_it() -> None:
    scheduler, runner = make(), CacheRunner(PAGE)
    long, short = sequence(70, 2), sequence(5, 2)
    scheduler.add(long)
    scheduler.add(short)
    drain(scheduler, runner)
    prefills = [(batch.num_tokens, len(batch.sampling)) for batch in runner.batches if batch.phase == "prefill"]
    assert prefills == [((32,), 0), ((32,), 0), ((6, 5), 2)]


def phases_of_a_long_prompt_beside(flow: str, *, mixes: bool) -> list[tuple[str, tuple[int, ...]]]:
    """Phases and tokens of the steps that prefill 70 tokens of flow "long" while a sequence of `flow` decodes."""
    scheduler, runner = make(mixes=mixes), CacheRunner(PAGE)
    early, late = sequence(4, 20, flow=flow), sequence(70, 2, flow="long")
    scheduler.add(early)
    first = scheduler.schedule()
    assert first is not None
    scheduler.advance(first, runner.run(first))
    scheduler.add(late)
    drain(scheduler, runner)
    assert [list(each.generated) for each in (early, late)] == [alone(early), alone(late)]
    return [(batch.phase, batch.num_tokens) for batch in runner.batches[1:] if batch.phase != "decode"]


def test_a_long_prompt_does_not_hold_up_other_flows_where_the_runner_mixes() -> None:
    rest = ("prefill", (10,))  # no longer than `max_mixed_tokens`
    assert phases_of_a_long_prompt_beside("other", mixes=True) == [("mixed", (1, 10))] * 6 + [rest]


@pytest.mark.parametrize(("flow", "mixes"), [("long", True), ("other", False)])
def test_prompts_come_first_in_a_lone_flow_and_where_the_runner_cannot_mix(flow: str, mixes: bool) -> None:
    apart = [("prefill", (32,)), ("prefill", (32,)), ("prefill", (6,))]
    assert phases_of_a_long_prompt_beside(flow, mixes=mixes) == apart


def test_decoding_goes_on_until_a_few_short_prompts_can_share_a_prefill() -> None:
    scheduler, runner = make(num_pages=1000, max_num_seqs=32), CacheRunner(PAGE)
    lengths = [5, 6, 7, 8, 9] + [40] * 27
    for each in [sequence(1, length) for length in lengths] + [sequence(1, 40) for _ in range(4)]:
        scheduler.add(each)
    drain(scheduler, runner)
    late = [len(batch.sequences) for batch in runner.batches if batch.phase == "prefill"][1:]
    assert late == [4]  # four of thirty-two places had to be free


def test_a_prompt_does_not_wait_while_much_of_the_batch_is_empty() -> None:
    scheduler = make()
    scheduler.add(sequence(3, 10))
    first = scheduler.schedule()
    assert first is not None
    scheduler.advance(first, [1])
    scheduler.add(sequence(3, 10))
    second = scheduler.schedule()
    assert second is not None and second.phase == "prefill"


def test_sequences_of_unknown_length_run_first_come_first_served() -> None:
    scheduler = make(max_num_seqs=1)
    sequences = [sequence(3, length) for length in (2, 9, 4)]
    for each in sequences:
        scheduler.add(each)
    assert drain(scheduler, CacheRunner(PAGE)) == sequences


def test_the_longest_of_a_turn_start_first_when_their_length_is_known() -> None:
    scheduler = make(max_num_seqs=1)
    short, long, middle = (sequence(3, length, ignore_eos=True) for length in (2, 9, 4))
    for each in (short, long, middle):
        scheduler.add(each)
    assert drain(scheduler, CacheRunner(PAGE)) == [long, middle, short]


def test_a_later_turn_never_overtakes_an_earlier_one() -> None:
    scheduler = make(max_num_seqs=1)
    early, late = sequence(3, 2, turn=0, ignore_eos=True), sequence(3, 50, turn=1, ignore_eos=True)
    for each in (late, early):
        scheduler.add(each)
    assert drain(scheduler, CacheRunner(PAGE)) == [early, late]


def test_a_stop_string_makes_a_length_unknown() -> None:
    scheduler = make(max_num_seqs=1)
    first, second = sequence(3, 2, ignore_eos=True, stop=("x",)), sequence(3, 9, ignore_eos=True)
    for each in (second, first):
        scheduler.add(each)
    assert drain(scheduler, CacheRunner(PAGE)) == [first, second]


def test_the_sequence_served_last_loses_its_pages_when_they_run_out() -> None:
    scheduler, runner = make(num_pages=9), CacheRunner(PAGE)
    first, second = sequence(4, 24), sequence(4, 24)
    scheduler.add(first)
    scheduler.add(second)
    assert drain(scheduler, runner) == [first, second]
    prefilled = [batch.sequences for batch in runner.batches if batch.phase == "prefill"]
    assert prefilled == [(first, second), (second,)]


def test_nobody_enters_without_a_page_to_spare_for_each_that_runs() -> None:
    scheduler = make(num_pages=8)
    first, second, third = sequence(8, 9), sequence(8, 9), sequence(4, 9)
    for each in (first, second, third):
        scheduler.add(each)
    batch = scheduler.schedule()
    assert batch is not None
    # Of 7 pages, two hold the first and two the second prompt; three are left, and the third needs one besides two.
    assert batch.sequences == (first, second, third)
    tighter = make(num_pages=7)
    for each in (sequence(8, 9), sequence(8, 9), sequence(4, 9)):
        tighter.add(each)
    batch = tighter.schedule()
    assert batch is not None and len(batch.sequences) == 2


def test_a_pre_empted_sequence_replays_its_tokens_through_decode_steps() -> None:
    scheduler, runner = make(num_pages=9), CacheRunner(PAGE)
    first, second = sequence(4, 24), sequence(4, 24)
    scheduler.add(first)
    scheduler.add(second)
    drain(scheduler, runner)
    resumed = [batch for batch in runner.batches if batch.sequences == (second,)]
    assert resumed[0].phase == "prefill" and resumed[0].num_tokens == (4,)
    assert not resumed[0].sampling, "the prompt's next token is known already"
    replayed = [batch for batch in resumed[1:] if not batch.sampling]
    assert replayed and all(batch.phase == "decode" for batch in replayed)
    assert list(second.generated) == alone(second)
    assert list(first.generated) == alone(first)


def test_an_abort_frees_pages_wherever_the_sequence_is() -> None:
    scheduler = make(max_num_seqs=2, max_batched_tokens=8)
    decoding, prefilling, waiting = sequence(3, 9), sequence(20, 9), sequence(3, 9)
    scheduler.add(decoding)
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.advance(batch, [1])
    scheduler.add(prefilling)
    scheduler.add(waiting)
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.advance(batch, [])
    assert (scheduler.num_running, scheduler.num_waiting) == (2, 1)
    for each in (decoding, prefilling, waiting):
        scheduler.abort(each)
    assert (scheduler.num_running, scheduler.num_waiting) == (0, 0)
    assert scheduler.page_allocator.usage == 0
    assert scheduler.schedule() is None


def test_aborting_a_stranger_is_an_error() -> None:
    with pytest.raises(KeyError):
        make().abort(sequence(3, 3))


def test_a_sequence_that_could_never_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="never fits 2 pages"):
        make(num_pages=3).add(sequence(5, 5))
