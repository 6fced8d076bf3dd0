"""Known and guessed tokens go through a decode step several at a time, and no completion depends on it."""

from __future__ import annotations

from collections.abc import Sequence as Items

import pytest

from engine.engine import Engine
from engine.request import GroupStats, Request, Scoring, Ticket
from engine.scheduling.decode_rows import DecodeRows
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from engine.speculation.drafting import Drafting
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import EOS, ByteTokenizer, CacheRunner, TableRunner
from tests.engine.sequences import sequence

PAGE = 4
PROMPT = tuple(b"copy: a rose is a rose is a rose")


def make(num_pages: int = 100, max_num_seqs: int = 8, row_cost: float | None = None) -> Scheduler:
    return Scheduler(PageAllocator(num_pages, PAGE), SchedulingPolicy(max_num_seqs, 64), row_cost=row_cost)


def drain(scheduler: Scheduler, runner: CacheRunner) -> None:
    while batch := scheduler.schedule():
        scheduler.advance(batch, runner.run(batch))
        scheduler.page_allocator.check_integrity([each.page_table for each in scheduler.sequences()])


def test_a_pre_empted_sequence_is_replayed_in_few_steps() -> None:
    scheduler, runner = make(num_pages=9), CacheRunner(PAGE)
    first, second = sequence(4, 24), sequence(4, 24)
    scheduler.add(first)
    scheduler.add(second)
    drain(scheduler, runner)
    resumed = [batch for batch in runner.batches if batch.sequences == (second,)][1:]
    assert resumed[0].num_tokens == (10,), "as many as a step has places"
    assert len(resumed) < 24 - 10


def test_a_step_has_no_more_rows_than_places() -> None:
    scheduler = make(max_num_seqs=4)  # with places for newcomers: five rows
    resumed = [sequence(4, 30) for _ in range(3)]
    for each in resumed:
        each.tokens += range(20)
        scheduler.add(each)
    prefill = scheduler.schedule()
    assert prefill is not None
    scheduler.advance(prefill, [])
    batch = scheduler.schedule()
    assert batch is not None
    assert batch.num_tokens == (3, 1, 1)
    assert batch.num_decode_rows == 5


def copying(prompt: Items[int], completion: Items[int], *, row_cost: float | None, **params: object) -> Completed:
    """What an engine makes of a request, over a runner that gives the same completion every time."""
    runner = TableRunner({tuple(prompt): tuple(completion)})
    engine = Engine(
        scheduler=make(row_cost=row_cost),
        runner=runner,
        detokenizer=ByteTokenizer(),
        eos_token_ids=(EOS,),
        max_model_len=300,
    )
    seen: list[int] = []
    settings: dict[str, object] = {"max_tokens": 60, **params}
    request = Request(tuple(prompt), SamplingParams(**settings), on_token=seen.append)  # type: ignore[arg-type]
    engine.start()
    output = engine.submit(request).future.result(60)
    stats, ever = engine.take_group_stats(""), engine.utilization()
    engine.shutdown()
    assert (ever.drafted_tokens, ever.accepted_tokens) == (stats.drafted_tokens, stats.accepted_tokens)
    assert tuple(seen) == output.token_ids, "every token is announced once, in order"
    return Completed(output.token_ids, output.text, output.finish_reason, stats, len(runner.batches))


class Completed:
    """A completion, and what it took."""

    def __init__(self, token_ids: Items[int], text: str, reason: str, stats: GroupStats, num_steps: int) -> None:
        self.said = (tuple(token_ids), text, reason)
        self.stats = stats
        self.num_steps = num_steps


COPIED = tuple(b" a rose is a rose is a rose is a rose. The end, and more.")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"stop": ("rose is a rose. T",)},
        {"stop": ("s a",)},
        {"stop_token_ids": (ord("."),)},
        {"max_tokens": 17},
        {"max_tokens": 1},
        {"min_tokens": 30, "stop_token_ids": (ord("o"),)},
    ],
    ids=str,
)
def test_guesses_change_no_completion_and_save_steps(params: dict[str, object]) -> None:
    plain = copying(PROMPT, COPIED, row_cost=None, **params)
    guessed = copying(PROMPT, COPIED, row_cost=0.0, **params)
    assert guessed.said == plain.said
    assert guessed.stats.output_tokens == plain.stats.output_tokens == len(plain.said[0])
    assert guessed.num_steps == plain.num_steps - guessed.stats.accepted_tokens
    assert guessed.stats.accepted_tokens <= guessed.stats.drafted_tokens
    if len(plain.said[0]) > 10:
        assert guessed.num_steps < 0.7 * plain.num_steps


def repeating(allocator: PageAllocator, max_tokens: int = 12) -> Sequence:
    """A sequence whose next tokens are easy to guess, and that has a place for one more on its two pages."""
    params = SamplingParams(max_tokens=max_tokens)
    made = Sequence(
        Ticket(Request((1, 2, 3, 1, 2, 3, 1), params)), StopChecker(params, (), max_tokens), (True, 0, False, 0, 0)
    )
    assert allocator.reserve(made.page_table, 8)
    made.num_computed = 6
    return made


def test_no_guess_reaches_beyond_the_last_token() -> None:
    allocator = PageAllocator(num_pages=50, page_size=PAGE)
    rows = DecodeRows(allocator, Drafting(0.0))
    counts = [rows.batch([repeating(allocator, max_tokens)], 10).num_tokens for max_tokens in (1, 2, 9)]
    assert counts == [(1,), (2,), (3,)]


@pytest.mark.parametrize(("num_free", "counts"), [(1, (1, 1)), (2, (1, 1)), (3, (3, 1)), (4, (3, 3))])
def test_a_guess_takes_no_page_that_another_sequence_needs_next(num_free: int, counts: tuple[int, int]) -> None:
    allocator = PageAllocator(num_pages=5 + num_free, page_size=PAGE)
    pair = [repeating(allocator), repeating(allocator)]
    assert DecodeRows(allocator, Drafting(0.0)).batch(pair, 10).num_tokens == counts


@pytest.mark.parametrize(("max_rows", "num_fed"), [(2, 2), (3, 3), (5, 5), (10, 7)])
def test_a_choice_that_has_lost_its_pages_feeds_its_tokens_again_and_then_further_ones(
    max_rows: int, num_fed: int
) -> None:
    choice, params = tuple(range(10, 18)), SamplingParams(max_tokens=8)
    request = Request((1, 2, 3, 4), params, scoring=Scoring(tuple((token_id,) for token_id in choice), (0,)))
    resumed = Sequence(Ticket(request), StopChecker(params, (), 8), (True, 0, False, 0, 0))
    resumed.tokens += choice[:3]
    resumed.num_computed = 4  # the prompt
    [count] = DecodeRows(PageAllocator(num_pages=50, page_size=PAGE), None).batch([resumed], max_rows).num_tokens
    assert resumed.fed(count) == list(choice[:num_fed])  # the last token is never fed


def test_a_sequence_that_a_guess_served_can_be_continued_by_one_that_shares_its_prompt() -> None:
    scheduler, runner = make(row_cost=0.0), CacheRunner(PAGE, num_ids=2)
    first = sequence(11, 20, num_shared=11)
    scheduler.add(first)
    drain(scheduler, runner)
    second = Sequence(first.ticket, first.stop_checker, first.priority)
    scheduler.add(second)
    drain(scheduler, runner)
    assert second.num_cached == 8
    assert second.generated == first.generated
