"""Tokens are guessed where a guess is worth more than it costs."""

from __future__ import annotations

import math

import pytest

from engine.speculation.drafting import MANY_ROWS, MAX_DRAFT_TOKENS, TOKENS_UNTIL_AGAIN, Drafting, Guesses, row_cost

REPEATED = [1, 2, 3, 4] * 4
ZEN_4 = 2.3 / 30  # milliseconds of a row, and of reading the weights


def learned(right: bool, steps: int = 20) -> Guesses:
    """Guesses that were always right or always wrong."""
    guesses = Guesses()
    for _ in range(steps):
        guesses.learn(len(REPEATED), 3, 3 if right else 0)
    return guesses


def test_the_cost_of_a_row_comes_from_the_times_of_two_steps() -> None:
    assert row_cost(30 + 2 * 2.3, 30 + 16 * 2.3) == pytest.approx(ZEN_4)
    assert row_cost(1.0, 0.9) == 0
    assert row_cost(1.0, 8.0) == math.inf


def test_a_lone_stream_that_copies_gets_the_longest_draft() -> None:
    drafting, guesses = Drafting(ZEN_4), learned(right=True)
    assert len(drafting.draft(guesses, REPEATED, num_rows=1, max_tokens=100)) == MAX_DRAFT_TOKENS
    assert len(drafting.draft(guesses, REPEATED, num_rows=1, max_tokens=2)) == 2


def test_a_sequence_about_which_nothing_is_known_gets_a_short_draft() -> None:
    assert 1 <= len(Drafting(ZEN_4).draft(Guesses(), REPEATED, num_rows=1, max_tokens=100)) < MAX_DRAFT_TOKENS


def test_in_a_full_batch_nothing_is_guessed() -> None:
    guesses = learned(right=True)
    assert Drafting(ZEN_4).draft(guesses, REPEATED, num_rows=64, max_tokens=100) == ()
    assert Drafting(0.0).draft(guesses, REPEATED, num_rows=MANY_ROWS, max_tokens=100) == ()
    assert len(Drafting(0.0).draft(guesses, REPEATED, num_rows=MANY_ROWS - 2, max_tokens=100)) == 2
    assert Drafting(math.inf).draft(guesses, REPEATED, num_rows=1, max_tokens=100) == ()


def test_after_wrong_guesses_nothing_is_guessed_for_a_while() -> None:
    drafting, guesses = Drafting(0.0), learned(right=False)
    assert drafting.draft(guesses, REPEATED, num_rows=1, max_tokens=100) == ()
    longer = REPEATED * (TOKENS_UNTIL_AGAIN // len(REPEATED) + 1)
    assert drafting.draft(guesses, longer, num_rows=1, max_tokens=100) != ()
