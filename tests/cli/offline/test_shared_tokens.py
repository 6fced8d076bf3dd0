"""`check` counts the tokens that the prefix cache of a worker would have."""

from __future__ import annotations

import random
from itertools import chain, pairwise, takewhile

from hypothesis import given
from hypothesis import strategies as st

from cli.offline.shared_tokens import SharedTokens
from engine.config import PAGE_SIZE

PIECES = [[number] * length for number, length in ((1, 10), (2, 16), (3, 50), (4, 64), (5, 130))]
PROMPTS = st.lists(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(lambda pieces: list(chain.from_iterable(pieces))),
    max_size=8,
)


def counted(prompts: list[list[int]], max_pages: int = 2048) -> list[int]:
    """The number of shared tokens of each prompt."""
    shared, counts = SharedTokens(max_pages), [0]
    for prompt in prompts:
        shared.add(prompt)
        counts.append(shared.count)
    return [after - before for before, after in pairwise(counts)]


def common(one: list[int], other: list[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@given(PROMPTS)
def test_whole_pages_are_shared_and_sixteen_tokens_of_the_next_page_are_copied(prompts: list[list[int]]) -> None:
    expected = []
    for place, prompt in enumerate(prompts):
        longest = max((common(prompt[:-1], earlier) for earlier in prompts[:place]), default=0)
        rest = longest % PAGE_SIZE
        expected.append(longest if rest >= 16 else longest - rest)
    assert counted(prompts) == expected


def test_a_beginning_that_is_used_again_and_again_stays_while_others_are_forgotten() -> None:
    luck = random.Random(1)
    beginning = [7] * 2 * PAGE_SIZE
    prompts = [beginning + luck.choices(range(1000), k=PAGE_SIZE) for _ in range(50)]
    assert counted([*prompts, prompts[0]], max_pages=5) == [0] + [len(beginning)] * 50
    assert counted([*prompts, prompts[0]], max_pages=500)[-1] == 3 * PAGE_SIZE - 1


def test_the_pages_that_are_remembered_are_bounded() -> None:
    shared = SharedTokens(max_pages=8)
    for first in range(200):
        shared.add([first] * 1000)
    assert len(shared._index) == 8
    assert shared.count == 0
