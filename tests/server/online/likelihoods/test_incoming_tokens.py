"""The tokens of a text that arrives in pieces are handed out with the text in which they begin, each of them once."""

from __future__ import annotations

import pytest

from jobs.online.messages import PieceTokens
from jobs.records.completion import Logprobs
from server.online.incoming_text import TextDiffers, TextMissing
from server.online.incoming_tokens import IncomingTokens
from testing.jobs.packed_logprobs import packed_logprobs

BYTES = {1: b"ab", 2: b"c", 3: b"d", 9: b"x"}


def logprobs(*ids: int) -> Logprobs:
    """Tokens with a value and one likeliest token each."""
    return packed_logprobs([(each, -float(each)) for each in ids], BYTES, [[(each, -0.5)] for each in ids])


def part(first: int, *tokens: tuple[int, int]) -> PieceTokens:
    """Tokens of a piece, each with the place of its text."""
    return PieceTokens(first, tuple(start for _, start in tokens), logprobs(*(each for each, _ in tokens)))


@pytest.fixture
def begun() -> IncomingTokens:
    """The tokens 1, 2 and 3, of which the first one was handed out."""
    tokens = IncomingTokens()
    tokens.add(part(0, (1, 0), (2, 2)))
    tokens.add(part(2, (3, 3)))
    assert tokens.take(1) == logprobs(1)
    return tokens


def test_tokens_come_with_the_text_in_which_they_begin(begun: IncomingTokens) -> None:
    assert begun.take(2) is None
    assert begun.take(4) == logprobs(2, 3)
    assert begun.take(4) is None


def test_a_second_attempt_sends_nothing_twice(begun: IncomingTokens) -> None:
    begun.add(part(0, (1, 0)))
    begun.add(part(1, (2, 2), (3, 3)))
    assert begun.take(4) == logprobs(2, 3)


def test_tokens_that_were_not_handed_out_may_change(begun: IncomingTokens) -> None:
    begun.add(part(0, (1, 0), (9, 2)))
    begun.finish(logprobs(1, 9, 3))
    assert begun.take(4) == logprobs(9)


def test_a_token_that_contradicts_what_was_handed_out_is_noticed(begun: IncomingTokens) -> None:
    with pytest.raises(TextDiffers):
        begun.add(part(0, (9, 0), (2, 2)))


@pytest.mark.parametrize("whole", [logprobs(9, 2, 3), logprobs()])
def test_a_result_that_contradicts_what_was_handed_out_is_noticed(begun: IncomingTokens, whole: Logprobs) -> None:
    with pytest.raises(TextDiffers):
        begun.finish(whole)


def test_a_gap_is_noticed(begun: IncomingTokens) -> None:
    with pytest.raises(TextMissing):
        begun.add(part(4, (1, 4)))
