"""A budget for thoughts over a real model: the ids of Qwen's own recipe, whatever happens in the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.load import LoadedEngine
from engine.request import Request
from engine.stopping.thought import Thinking
from jobs.records.sampling import SamplingParams

LoadTiny = Callable[..., LoadedEngine]
END = 250  # stands for the end tag: an id that this model hardly chooses
CLOSING = (*b"\n\nEnough.\n", END, *b"\n\n")
PROMPT_LENGTHS = (1, 64, 65, 129, 20)
MAX_TOKENS = 70
THINKING = Thinking(start_id=251, end_id=END, is_open=True, closing_ids=CLOSING)


def requests(budget: int | None, max_tokens: int = MAX_TOKENS, **settings: Any) -> list[Request]:
    """One request of each length, greedy and sampled in turn."""
    return [
        Request(
            token_ids=tuple((place * 31 + number * 7) % 250 for place in range(length)),
            params=SamplingParams(
                **{"max_tokens": max_tokens, "temperature": number % 2, "seed": number, "ignore_eos": True, **settings},
                thinking_token_budget=budget,
            ),
            thinking=THINKING,
        )
        for number, length in enumerate(PROMPT_LENGTHS)
    ]


def ids(loaded: LoadedEngine, batch: list[Request]) -> list[tuple[int, ...]]:
    return [ticket.future.result(120).token_ids for ticket in loaded.engine.submit_many(batch)]


def whole_characters(loaded: LoadedEngine, token_ids: tuple[int, ...], budget: int) -> int:
    """The smallest number of tokens from the budget on that do not end inside a character, or three more."""
    stream = loaded.tokenizer.stream()
    for number, token_id in enumerate(token_ids):
        if number >= budget and stream.is_complete:
            return number
        stream.push(token_id)
    return budget + 3


@pytest.mark.parametrize("budget", [0, 1, 30])
def test_the_ids_are_those_of_qwens_recipe_of_two_calls(load_tiny: LoadTiny, budget: int) -> None:
    """The recipe: generate up to the budget, append the sentence unless the thought has ended, generate the rest."""
    loaded, batch = load_tiny(), requests(budget, temperature=0)
    plain = SamplingParams(max_tokens=budget + 3, temperature=0, ignore_eos=True)
    firsts = ids(loaded, [Request(request.token_ids, plain) for request in batch])
    thoughts = [first[: whole_characters(loaded, first, budget)] for first in firsts]
    thoughts = [thought if END in thought else thought + CLOSING for thought in thoughts]
    rests = [replace(plain, max_tokens=MAX_TOKENS - len(thought)) for thought in thoughts]
    prompts = [request.token_ids + thought for request, thought in zip(batch, thoughts, strict=True)]
    answers = ids(loaded, list(map(Request, prompts, rests)))
    assert ids(loaded, batch) == [thought + answer for thought, answer in zip(thoughts, answers, strict=True)]


@pytest.mark.parametrize("budget", [0, 20])
def test_a_budget_gives_the_same_ids_alone_among_neighbours_and_pre_empted(load_tiny: LoadTiny, budget: int) -> None:
    batch = requests(budget)
    loaded = load_tiny()
    alone = [ids(loaded, [request])[0] for request in batch]
    cuts = [whole_characters(loaded, each, budget) for each in alone]
    assert all(each[cut : cut + len(CLOSING)] == CLOSING for each, cut in zip(alone, cuts, strict=True))
    assert ids(loaded, batch) == alone
    tight = load_tiny(num_pages=7, max_model_len=256)
    tight.engine.take_group_stats("")
    assert ids(tight, batch) == alone
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"


def test_a_budget_that_is_never_reached_changes_no_id(load_tiny: LoadTiny) -> None:
    assert ids(load_tiny(), requests(MAX_TOKENS)) == ids(load_tiny(), requests(None))
