"""Why a completion ends, and which ids and which text it then has."""

from __future__ import annotations

from typing import Any

import pytest

from engine.request import Request, RequestOutput
from engine.stopping.stop_checker import StopChecker
from jobs.records.sampling import FinishReason, SamplingParams
from testing.models.fake_runner import EOS, TableRunner
from tests.engine.conftest import MakeEngine

PROMPT = (1, 2, 3)


@pytest.fixture
def complete(make_engine: MakeEngine) -> Any:
    """`complete(ids, max_tokens=..., ...)`: what comes out when the model would say `ids`, then eos."""

    def run(ids: bytes | tuple[int, ...], max_model_len: int = 64, **settings: Any) -> RequestOutput:
        engine = make_engine(TableRunner({PROMPT: tuple(ids)}), max_model_len=max_model_len)
        return engine.submit(Request(PROMPT, SamplingParams(**{"max_tokens": 50, **settings}))).future.result(120)

    return run


def test_eos_ends_a_completion_and_is_in_its_ids_but_not_in_its_text(complete: Any) -> None:
    output = complete(b"Paris")
    assert output.token_ids == (*b"Paris", EOS)
    assert (output.text, output.finish_reason) == ("Paris", FinishReason.STOP)
    assert output.num_prompt_tokens == 3


def test_an_ignored_eos_ends_nothing(complete: Any) -> None:
    output = complete((*b"a", EOS, *b"b"), ignore_eos=True, max_tokens=3)
    assert (output.text, output.finish_reason) == ("ab", FinishReason.LENGTH)


def test_an_ignored_eos_leaves_stop_tokens_and_stop_strings_as_they_are(complete: Any) -> None:
    said = (*b"a", EOS, *b"b.c")
    for stops in ({"stop_token_ids": (ord("."),)}, {"stop": (".",)}):
        output = complete(said, ignore_eos=True, **stops)
        assert (output.text, output.finish_reason) == ("ab", FinishReason.STOP)
    output = complete(said, ignore_eos=True, stop_token_ids=(EOS,))  # asked for by name, it ends the completion again
    assert (output.token_ids, output.finish_reason) == ((*b"a", EOS), FinishReason.STOP)


@pytest.mark.parametrize("min_tokens", [0, 1, 3])
def test_tokens_that_end_a_completion_are_barred_until_min_tokens_are_there_and_no_longer(min_tokens: int) -> None:
    params = SamplingParams(max_tokens=9, min_tokens=min_tokens, stop_token_ids=(7,))
    barred = [StopChecker(params, (EOS,), 9).barred_token_ids(generated) for generated in range(6)]
    assert barred == [{EOS, 7}] * min_tokens + [set()] * (6 - min_tokens)
    for generated, tokens in enumerate(barred):
        ends = [StopChecker(params, (EOS,), 9).check(token, generated + 1) for token in (EOS, 7)]
        assert ends == [None if token in tokens else FinishReason.STOP for token in (EOS, 7)]


def test_a_stop_token_is_kept_in_the_ids_and_not_in_the_text(complete: Any) -> None:
    output = complete(b"one.two", stop_token_ids=(ord("."),))
    assert output.token_ids == tuple(b"one.")
    assert (output.text, output.finish_reason) == ("one", FinishReason.STOP)


def test_max_tokens_ends_a_completion_by_length(complete: Any) -> None:
    output = complete(b"Paris", max_tokens=3)
    assert (output.text, output.token_ids, output.finish_reason) == ("Par", tuple(b"Par"), FinishReason.LENGTH)


def test_eos_as_the_last_allowed_token_is_a_stop(complete: Any) -> None:
    assert complete(b"ab", max_tokens=3).finish_reason == FinishReason.STOP


def test_the_end_of_the_context_ends_a_completion_by_length(complete: Any) -> None:
    output = complete(b"abcdefghij", max_model_len=8)
    assert (output.text, output.finish_reason) == ("abcde", FinishReason.LENGTH)


def test_the_text_ends_before_a_stop_string_that_several_tokens_make_up(complete: Any) -> None:
    output = complete(b"one\n\ntwo", stop=("\n\n",))
    assert output.token_ids == tuple(b"one\n\n")
    assert (output.text, output.finish_reason) == ("one", FinishReason.STOP)


def test_of_two_stop_strings_that_end_together_the_one_that_begins_first_cuts(complete: Any) -> None:
    assert complete(b"xabcy", stop=("c", "abc", "bc")).text == "x"


def test_a_stop_string_may_be_the_whole_completion(complete: Any) -> None:
    assert complete(b"END", stop=("END",)).text == ""


def test_a_stop_string_that_never_comes_changes_nothing(complete: Any) -> None:
    output = complete("für €5 ab".encode(), stop=("abc", "€6"))
    assert (output.text, output.finish_reason) == ("für €5 ab", FinishReason.STOP)


def test_a_stop_string_of_several_bytes_a_character_cuts_at_the_character(complete: Any) -> None:
    assert complete("10 € 20 €".encode(), stop=("€ 2",)).text == "10 "


def test_a_text_that_ends_inside_a_character_leaves_it_out(complete: Any) -> None:
    assert complete("5€".encode(), max_tokens=3).text == "5"


def test_a_stop_string_inside_the_first_min_tokens_is_let_pass(complete: Any) -> None:
    output = complete(b"a.b.c.d", stop=(".",), min_tokens=3)
    assert output.text == "a.b"


def test_a_stop_string_that_begins_before_min_tokens_and_ends_after_cuts(complete: Any) -> None:
    assert complete(b"abcd", stop=("bc",), min_tokens=2).text == "a"


def test_a_short_stop_string_inside_min_tokens_is_let_pass_beside_a_long_one(complete: Any) -> None:
    assert complete(b"a.bcdef", stop=(".", "a long one"), min_tokens=2).text == "a.bcdef"


def test_times_are_in_order(complete: Any) -> None:
    output = complete(b"Paris")
    assert output.arrived_at <= output.admitted_at <= output.first_token_at <= output.finished_at
    assert len(output.token_gaps) == len(output.token_ids) - 1
    assert sum(output.token_gaps) <= output.finished_at - output.first_token_at + 1e-3  # gaps have 24 bits


def test_the_reason_of_a_stop_is_its_string_or_token_and_eos_has_none(complete: Any) -> None:
    assert complete(b"one.two", stop=("x", ".t")).stop_reason == ".t"
    assert complete(b"one.two", stop_token_ids=(ord("."),)).stop_reason == ord(".")
    assert complete(b"one").stop_reason is None
    assert complete(b"one", stop_token_ids=(EOS,)).stop_reason is None
    assert complete(b"one", stop_token_ids=(EOS,), ignore_eos=True).stop_reason == EOS
    assert complete(b"one", max_tokens=2, stop=("x",)).stop_reason is None


def test_a_text_may_keep_the_stop_that_ended_it(complete: Any) -> None:
    kept = {"include_stop_str_in_output": True}
    assert complete(b"one\n\ntwo", stop=("\n\n",), **kept).text == "one\n\n"
    assert complete(b"xabcy", stop=("c", "bc"), **kept).text == "xabc"
    assert complete(b"one.two", stop_token_ids=(ord("."),), **kept).text == "one."
    assert complete(b"one", **kept).text == "one"


def test_a_text_may_show_special_tokens(complete: Any) -> None:
    shown = {"skip_special_tokens": False}
    assert complete((*b"a", 258, *b"b"), **shown).text == "a<|258|>b"
    assert complete((*b"a", 258, *b"b"), stop=("8|>",), **shown).text == "a<|25"
    assert complete((*b"a", 258, *b"b"), include_stop_str_in_output=True, **shown).text == f"a<|258|>b<|{EOS}|>"
