"""A sequence's settings as the sampler takes them."""

from __future__ import annotations

from array import array

from engine.execution.next_tokens import sampling_row
from engine.request import Request, Ticket
from engine.scheduling.sequence import Sequence
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import SamplingParams


def sequence(params: SamplingParams, eos: tuple[int, ...] = ()) -> Sequence:
    """Three tokens of prompt, and two that were generated."""
    ticket = Ticket(Request((1, 2, 3), params))
    made = Sequence(ticket, StopChecker(params, eos, params.max_tokens), (True, 0, False, 0, 0), page_table=array("i"))
    for token in (4, 5):
        made.append(token, now=0.0)
    return made


def test_the_position_is_that_of_the_token_to_be_chosen() -> None:
    assert sampling_row(sequence(SamplingParams(max_tokens=9, seed=7)), 100).position == 5


def test_penalties_tell_the_prompt_from_what_was_generated() -> None:
    row = sampling_row(sequence(SamplingParams(max_tokens=9, repetition_penalty=1.5)), 100)
    assert (list(row.prompt_ids), list(row.output_ids)) == ([1, 2, 3], [4, 5])


def test_a_stop_token_behind_the_vocabulary_needs_no_ban() -> None:
    row = sampling_row(sequence(SamplingParams(max_tokens=9, min_tokens=8), eos=(99, 100)), 100)
    assert row.banned_ids == (99,)


def test_after_guessed_tokens_a_token_is_chosen_as_if_they_had_been_chosen() -> None:
    guessing = sequence(SamplingParams(max_tokens=9, seed=7, min_tokens=4, repetition_penalty=1.5), eos=(99,))
    guessing.draft = (6, 7, 8)
    rows = [sampling_row(guessing, 100, num_drafted) for num_drafted in range(4)]
    assert [row.position for row in rows] == [5, 6, 7, 8]
    assert [list(row.output_ids) for row in rows] == [[4, 5], [4, 5, 6], [4, 5, 6, 7], [4, 5, 6, 7, 8]]
    assert [row.banned_ids for row in rows] == [(99,), (99,), (), ()]
