"""Where a thought ends, which text is the answer, and how a budget ends a thought."""

from __future__ import annotations

from typing import Any

import pytest

from engine.request import Request, RequestOutput
from engine.stopping.thought import Thinking
from jobs.records.sampling import FinishReason, SamplingParams
from testing.models.fake_runner import EOS, TableRunner
from tests.engine.conftest import MakeEngine

PROMPT = (1, 2, 3)
START, END = 258, 259  # tags of the thought; the tokenizer of these tests gives them no text
CLOSING = (*b"\n\nEnough.\n", END, *b"\n\n")
EURO = "€".encode()


@pytest.fixture
def complete(make_engine: MakeEngine) -> Any:
    """`complete(ids, is_open=..., max_tokens=..., ...)`: what comes out when the model would say `ids`, then eos.

    The ids that a budget puts into the completion stand in the place of as many of the model's ids.
    """

    def run(ids: Any, is_open: bool = True, **settings: Any) -> RequestOutput:
        engine = make_engine(TableRunner({PROMPT: tuple(ids)}), max_model_len=256, num_pages=200)
        params = SamplingParams(**{"max_tokens": 100, **settings})
        thinking = Thinking(START, END, is_open, CLOSING)
        return engine.submit(Request(PROMPT, params, thinking=thinking)).future.result(120)

    return run


def parts(output: RequestOutput) -> tuple[str | None, str]:
    return output.reasoning, output.text


def test_a_thought_that_the_prompt_opened_ends_at_its_tag(complete: Any) -> None:
    output = complete((*b"\nhm\n\n", END, *b"\n\nFour.\n"))
    assert parts(output) == ("hm", "Four.\n")
    assert output.num_reasoning_tokens == len(b"\nhm\n\n") + 1
    assert len(output.token_ids) - output.num_reasoning_tokens == len(b"\n\nFour.\n") + 1  # and eos


def test_the_first_token_may_open_a_thought_and_only_the_first(complete: Any) -> None:
    assert parts(complete((START, *b"\nhm\n", END, *b"\n\nFour."), is_open=False)) == ("hm", "Four.")
    output = complete((*b"\nA tag: ", START, *b"hm", END, *b"\n."), is_open=False)
    assert parts(output) == (None, "\nA tag: hm\n.")
    assert output.num_reasoning_tokens == 0


def test_a_thought_ends_at_the_first_end_tag_and_a_later_one_is_text(complete: Any) -> None:
    output = complete((*b"a", START, *b"b", END, *b"c", END, *b"d"))
    assert parts(output) == ("ab", "cd")
    assert output.num_reasoning_tokens == 4


@pytest.mark.parametrize("is_open", [True, False])
def test_a_completion_that_is_cut_inside_its_thought_is_all_thought(complete: Any, is_open: bool) -> None:
    output = complete((START, *b"hm\n", *b"more"), is_open, max_tokens=4)
    assert parts(output) == ("hm\n", "")
    assert (output.num_reasoning_tokens, output.finish_reason) == (4, FinishReason.LENGTH)


def test_a_completion_that_ends_inside_its_thought_keeps_the_ending_token_out_of_the_text(complete: Any) -> None:
    output = complete(b"hm")
    assert parts(output) == ("hm", "")
    assert (output.num_reasoning_tokens, output.finish_reason) == (3, FinishReason.STOP)


def test_a_thought_may_be_empty(complete: Any) -> None:
    assert parts(complete((END, *b"Four."))) == ("", "Four.")


def test_a_text_that_is_cut_inside_a_character_of_the_thought_leaves_it_out(complete: Any) -> None:
    assert complete(b"5" + EURO, max_tokens=3).reasoning == "5"


def test_stop_strings_look_at_the_answer_only_and_not_at_the_newlines_before_it(complete: Any) -> None:
    output = complete((*b"one\ntwo\n", END, *b"\n\nFour.\nFive."), stop=("\n",))
    assert parts(output) == ("one\ntwo", "Four.")
    assert (output.finish_reason, output.token_ids[-1]) == (FinishReason.STOP, ord("\n"))


def test_without_a_thought_stop_strings_look_at_the_whole_text(complete: Any) -> None:
    assert parts(complete(b"\nFour.", is_open=False, stop=("\n",))) == (None, "")


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("budget", [0, 1, 5])
def test_a_budget_ends_the_thought_after_as_many_tokens_and_the_answer_follows(
    complete: Any, budget: int, is_open: bool
) -> None:
    opening = () if is_open else (START,)
    thought = b"a b c d e f g"[:budget]
    output = complete((*opening, *thought, *CLOSING, *b"Four."), is_open, thinking_token_budget=budget)
    assert output.token_ids == (*opening, *thought, *CLOSING, *b"Four.", EOS)
    assert parts(output) == ((thought + b"\n\nEnough.").decode().lstrip("\n"), "Four.")
    assert output.num_reasoning_tokens == len(opening) + budget + CLOSING.index(END) + 1


def test_a_budget_that_is_not_used_up_changes_nothing(complete: Any) -> None:
    said = (*b"hm", END, *b"Four.")
    assert complete(said, thinking_token_budget=3).token_ids == complete(said).token_ids


def test_a_budget_does_not_count_the_answer(complete: Any) -> None:
    assert complete((END, *b"A long answer."), thinking_token_budget=3).text == "A long answer."


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_budget_does_not_end_inside_a_character(complete: Any, place: int) -> None:
    thought = b"ab" + EURO
    output = complete((*thought, *CLOSING, *b"Four."), thinking_token_budget=3 + place)
    assert output.token_ids == (*thought, *CLOSING, *b"Four.", EOS)


def test_bytes_that_never_become_a_character_hold_a_budget_up_for_three_tokens(complete: Any) -> None:
    broken = bytes([0xF0, 0x90]) * 2
    stuck = b"a" + bytes([0xF0]) + bytes([0xF0]) * 5
    output = complete((*stuck[:5], *CLOSING, *b"Four."), thinking_token_budget=2)
    assert output.token_ids[:5] == tuple(stuck[:5])
    assert output.token_ids[5 : 5 + len(CLOSING)] == CLOSING
    assert complete((*broken[:3], *CLOSING), thinking_token_budget=1).token_ids[1:3] != CLOSING[:2]


def test_tokens_that_a_budget_adds_count_as_output_and_are_announced(make_engine: MakeEngine) -> None:
    engine = make_engine(TableRunner({PROMPT: (*b"ab", *CLOSING, *b"4")}), max_model_len=256, num_pages=200)
    announced: list[int] = []
    params = SamplingParams(max_tokens=100, thinking_token_budget=2)
    request = Request(PROMPT, params, "group", "", announced.append, (), Thinking(START, END, True, CLOSING))
    output = engine.submit(request).future.result(120)
    assert tuple(announced) == output.token_ids
    engine.shutdown()
    assert engine.take_group_stats("group").output_tokens == len(output.token_ids)


def test_max_tokens_may_end_a_completion_inside_the_added_tokens(complete: Any) -> None:
    output = complete(b"abcdefgh", thinking_token_budget=2, max_tokens=6)
    assert output.token_ids == (*b"ab", *CLOSING[:4])
    assert output.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("settings", [{"max_tokens": len(CLOSING)}, {"stop_token_ids": (ord("."),)}])
def test_a_budget_of_no_tokens_never_leaves_a_completion_without_a_sampled_token(
    complete: Any, settings: dict[str, Any]
) -> None:
    assert complete(b"x" * 40, thinking_token_budget=0, **settings).token_ids[0] == ord("x")
