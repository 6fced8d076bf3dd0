"""The guess is what followed the same tokens before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.speculation.prompt_lookup import MAX_MATCH, MIN_MATCH, PromptLookup


def test_the_guess_is_what_followed_the_last_tokens_before() -> None:
    assert PromptLookup().following([1, 2, 3, 4, 5, 9, 1, 2], 3) == (3, 4, 5)


def test_nothing_is_guessed_if_the_last_two_tokens_never_stood_together() -> None:
    assert PromptLookup().following([1, 2, 3, 4, 2], 3) == ()
    assert PromptLookup().following([1, 2], 3) == ()
    assert PromptLookup().following([1], 3) == ()


def test_of_two_places_the_one_where_more_tokens_agree_counts() -> None:
    assert PromptLookup().following([7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2], 1) == (3,)


def test_of_equal_places_the_latest_counts() -> None:
    assert PromptLookup().following([1, 2, 3, 1, 2, 4, 1, 2], 1) == (4,)


def test_a_text_that_repeats_itself_is_continued_beyond_its_end() -> None:
    assert PromptLookup().following([1, 2, 3, 1, 2, 3], 7) == (1, 2, 3, 1, 2, 3, 1)
    assert PromptLookup().following([5, 5, 5], 4) == (5, 5, 5, 5)


def naive(tokens: list[int], count: int) -> tuple[int, ...]:
    """The guess by its definition, from all places."""
    best, longest = 0, 0
    for place in range(MIN_MATCH, len(tokens)):
        length = 0
        while length < min(place, MAX_MATCH) and tokens[place - 1 - length] == tokens[-1 - length]:
            length += 1
        if length >= max(longest, MIN_MATCH):
            best, longest = place, length
    found: list[int] = list(tokens)
    for index in range(best, best + count):
        found.append(found[index])
    return tuple(found[len(tokens) :]) if longest else ()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24), st.integers(1, 7))
def test_a_growing_sequence_is_guessed_as_its_definition_says(tokens: list[int], count: int) -> None:
    lookup = PromptLookup()
    for length in range(1, len(tokens) + 1):
        assert lookup.following(tokens[:length], count) == naive(tokens[:length], count)
