"""Prompts that begin alike compute their beginning once, and what is computed changes no completion."""

from __future__ import annotations

from array import array

import pytest

from engine.request import Request, Ticket
from engine.requests.intake import Intake
from engine.scheduling.batch import Batch
from engine.scheduling.page_allocator import PageAllocator
from engine.scheduling.policy import SchedulingPolicy, priority
from engine.scheduling.prefix_index import PrefixIndex, PromptPages
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams
from testing.models.fake_runner import ByteTokenizer, CacheRunner
from tests.engine.sequences import sequence

PAGE = 4


class Steps:
    """A scheduler over a small cache, and the batches of its steps."""

    def __init__(self, num_pages: int = 100, max_batched_tokens: int = 64, **policy: object) -> None:
        self.scheduler = Scheduler(
            PageAllocator(num_pages, PAGE),
            SchedulingPolicy(8, max_batched_tokens, min_copied_tokens=2, **policy),  # type: ignore[arg-type]
        )
        self.runner = CacheRunner(PAGE)

    def add(self, *sequences: Sequence) -> None:
        for each in sequences:
            self.scheduler.add(each)

    def step(self) -> Batch:
        batch = self.scheduler.schedule()
        assert batch is not None
        self.scheduler.advance(batch, self.runner.run(batch))
        return batch

    def drain(self) -> None:
        while batch := self.scheduler.schedule():
            self.scheduler.advance(batch, self.runner.run(batch))
            self.scheduler.page_allocator.check_integrity([each.page_table for each in self.scheduler.sequences()])

    @property
    def computed(self) -> int:
        """Prompt tokens of all steps so far."""
        return sum(sum(batch.num_tokens[batch.num_decodes :]) for batch in self.runner.batches)


def of(token_ids: list[int], max_tokens: int = 1) -> Sequence:
    params = SamplingParams(max_tokens=max_tokens)
    return Sequence(
        ticket=Ticket(Request(tuple(token_ids), params)),
        stop_checker=StopChecker(params, (), max_tokens),
        priority=priority(0, next(_numbers), params, max_tokens),
    )


_numbers = iter(range(10**6))


def test_of_prompts_with_one_beginning_one_computes_it_and_the_others_wait_a_step() -> None:
    steps = Steps()
    group = [sequence(12, 3, num_shared=8) for _ in range(5)]
    steps.add(*group)
    first, second = steps.step(), steps.step()
    assert (first.sequences, first.num_tokens) == ((group[0],), (12,))
    assert (second.sequences, second.num_tokens) == (tuple(group[1:]), (4, 4, 4, 4))
    assert {each.num_cached for each in group[1:]} == {8}
    assert len({tuple(each.page_table[:2]) for each in group}) == 1


def test_a_prompt_that_waits_for_anothers_pages_does_not_hold_up_those_behind_it() -> None:
    steps = Steps()
    leader, follower, other = sequence(12, 3, num_shared=8), sequence(12, 3, num_shared=8), sequence(9, 3)
    steps.add(leader, follower, other)
    assert steps.step().sequences == (leader, other)
    assert steps.step().sequences == (follower,)


def test_the_known_beginning_of_a_page_is_copied() -> None:
    steps = Steps()
    steps.add(sequence(11, 1, num_shared=11))
    steps.drain()
    follower = sequence(14, 1, num_shared=7)  # a page and three tokens of the next one
    steps.add(follower)
    batch = steps.step()
    assert (batch.num_tokens, len(batch.copies)) == ((7,), 1)
    assert follower.num_cached == 7


def test_a_prompt_that_was_there_before_computes_its_last_token_alone() -> None:
    steps = Steps()
    for length in (16, 19):  # with a full last page, and with one of three tokens
        steps.add(of(list(range(length))))
        steps.drain()
        again = of(list(range(length)))
        steps.add(again)
        assert steps.step().num_tokens == (1,)
        assert again.num_cached == length - 1


def test_equal_prompts_that_arrive_together_are_computed_once() -> None:
    steps = Steps()
    steps.add(*[of(list(range(31)), max_tokens=5) for _ in range(6)])
    steps.drain()
    assert steps.computed == 31 + 5


def test_generated_tokens_are_shared_with_no_prompt() -> None:
    steps = Steps()
    first = of(list(range(8)), max_tokens=12)
    steps.add(first)
    steps.drain()
    continued = of([*first.tokens, 1])
    steps.add(continued)
    assert steps.step().num_tokens == (21 - 8,)


def test_pages_of_ended_sequences_are_given_up_the_oldest_first() -> None:
    steps = Steps(num_pages=9)  # eight usable pages
    old, recent = list(range(100, 112)), list(range(200, 212))
    for prompt in (old, recent, list(range(12))):  # three pages each: the third prompt takes one of the first's
        steps.add(of(prompt))
        steps.drain()
    again = of(old)
    steps.add(again)
    steps.step()
    assert again.num_cached == 8, "a prompt's last page is given up first, before the pages that precede it"


def test_a_cache_full_of_kept_pages_refuses_nothing() -> None:
    steps = Steps(num_pages=13)
    for start in range(0, 200, 20):
        steps.add(of(list(range(start, start + 20)), max_tokens=5))
        steps.drain()
    assert steps.scheduler.page_allocator.num_free == 12
    longest = of(list(range(500, 540)), max_tokens=9)  # 48 tokens: the whole cache
    steps.add(longest)
    steps.drain()
    assert longest.finish_reason == "length"


def test_when_the_leader_is_aborted_a_follower_computes_the_beginning() -> None:
    steps = Steps(max_batched_tokens=4)
    group = [sequence(12, 2, num_shared=8) for _ in range(3)]
    steps.add(*group)
    steps.step()  # the first page of three
    steps.scheduler.abort(group[0])
    steps.drain()
    assert [each.finish_reason for each in group] == [None, "length", "length"]
    assert (group[1].num_cached, group[2].num_cached) == (4, 8)


def test_equal_pages_that_two_sequences_compute_become_one() -> None:
    steps = Steps(max_batched_tokens=64)
    first, second = sequence(6, 8, num_shared=6), sequence(9, 8, num_shared=5)
    steps.scheduler._prefix_cache.prepare(first)
    steps.add(first)
    steps.add(second)
    second.prompt_pages = PromptPages()  # as if both had entered at once
    steps.step()
    second.prompt_pages = PromptPages.of(second.tokens[:9], PAGE)
    steps.scheduler._prefix_cache.learn(second)
    assert first.page_table[0] == second.page_table[0]
    steps.drain()


def test_without_prefix_caching_every_prompt_is_computed() -> None:
    steps = Steps(prefix_caching=False)
    steps.add(*[of(list(range(12)), max_tokens=2) for _ in range(4)])
    assert len(steps.step().sequences) == 4
    steps.drain()
    assert steps.computed == 48
    assert len(steps.scheduler.page_allocator.prefixes) == 0


def test_a_pre_empted_sequence_finds_its_prompt_again() -> None:
    steps = Steps(num_pages=8, max_batched_tokens=64)
    group = [sequence(10, 12), sequence(10, 12)]
    steps.add(*group)
    steps.drain()
    assert group[1].num_cached > 0
    assert 10 + 10 < steps.computed < 10 + 10 + 10
    continued = of(group[1].tokens)
    steps.add(continued)
    steps.step()
    assert continued.num_cached <= 10, "it has found tokens that decode steps have replayed"


def lines_of_a_job(flow: str, first: int) -> list[Request]:
    """Lines with a common beginning of ten pages, and two to four pages of their own."""
    beginning = tuple((first + place * 5) % 256 for place in range(10 * PAGE))
    return [
        Request(
            token_ids=(*beginning, *((first + line * 11 + place * 7) % 256 for place in range(8 + line % 5))),
            params=SamplingParams(max_tokens=6 + line % 7),
            flow=flow,
        )
        for line in range(40)
    ]


def test_two_jobs_that_take_turns_do_not_evict_each_others_beginning() -> None:
    jobs = (lines_of_a_job("a", 0), lines_of_a_job("b", 100))
    computed = []
    for takes_turns in (False, True):
        steps, intake = Steps(num_pages=40), Intake(ByteTokenizer(), (), max_len=200)
        for job in jobs:  # room for both beginnings, and for the lines of one turn
            steps.add(*intake.sequences([Ticket(line) for line in job], steps.scheduler.turn))
            if not takes_turns:
                steps.drain()
        steps.drain()
        computed.append(steps.computed)
    assert computed[0] >= 0.95 * computed[1]


@pytest.mark.parametrize("length", [0, 1, 4, 5, 130])
def test_a_digest_names_the_whole_prefix(length: int) -> None:
    ids = list(range(length))
    digests = PromptPages.of(ids, PAGE).digests
    assert len(digests) == -(-length // PAGE)
    for place in range(length):
        changed = PromptPages.of([*ids[:place], 999, *ids[place + 1 :]], PAGE).digests
        page = place // PAGE
        assert changed[:page] == digests[:page]
        assert all(one != other for one, other in zip(changed[page:], digests[page:], strict=True))


def key_of(token_ids: list[int]) -> bytes:
    return PromptPages.of(token_ids, PAGE).key(0, len(token_ids))


def test_the_nearest_page_is_the_one_that_agrees_longest() -> None:
    index = PrefixIndex()
    for page, ids in enumerate([[7, 7, 7, 7], [1, 2, 3, 4], [1, 2, 9, 9], [300, 1, 1, 1], [1, 2]], start=1):
        index.add(page, b"", key_of(ids), None)
    assert index.nearest(b"", key_of([1, 2, 3, 5])) == (2, 3)
    assert index.nearest(b"", key_of([1, 2, 9, 0])) == (3, 3)
    assert index.nearest(b"", key_of([300, 1])) == (4, 2)
    assert index.nearest(b"", key_of([8, 8]))[1] == 0
    assert index.nearest(b"elsewhere", key_of([1, 2, 3, 4])) == (0, 0)


def test_a_shared_page_stays_until_its_last_owner_gives_it_up() -> None:
    allocator, first, second = PageAllocator(num_pages=5, page_size=2), array("i"), array("i")
    allocator.reserve(first, 2)
    allocator.prefixes.add(first[0], b"", key_of([1, 2]), b"digest")
    allocator.share(second, first)
    allocator.release(first)
    assert allocator.num_free == 3
    allocator.check_integrity([second])
    allocator.release(second)
    assert allocator.num_free == 4
    assert allocator.prefixes.chain([b"digest"]), "a free page keeps its contents while others are free"
