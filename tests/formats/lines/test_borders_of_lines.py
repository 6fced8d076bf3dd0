"""Where what a line may say ends: the last value that is taken, and the first that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from jobs.files.formats.json_line import LineInvalid, check_free_form
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.formats.messages import read_messages
from jobs.files.results.native_lines import native_line
from jobs.records.prompt import Prompt
from testing.jobs.sample_jobs import completed

Why = Callable[..., str]
Decode = Callable[..., Prompt]

USER = {"role": "user", "content": "x"}


def test_the_tools_of_a_template_are_not_for_a_line_to_set(why: Why) -> None:
    line = {"messages": [USER], "chat_template_kwargs": {"tools": []}}
    assert why(line) == '`chat_template_kwargs` has "tools"; a line cannot set this variable'


def test_a_content_part_must_say_that_it_is_text() -> None:
    with pytest.raises(LineInvalid, match=r"`messages\[0\].content\[0\].type` is null; only text parts"):
        read_messages([{"role": "user", "content": [{"text": "x"}]}])


def test_without_a_model_card_token_ids_end_below_two_to_the_31(decode: Decode, why: Why) -> None:
    assert decode({"prompt": [2**31 - 1]}, card=None).token_ids == (2**31 - 1,)
    assert "a token id must be from 0 to 2,147,483,647" in why({"prompt": [2**31]}, card=None)


def test_a_completion_may_be_asked_for_of_one_length_alone(decode: Decode) -> None:
    settings = decode({"prompt": "x", "min_tokens": 8, "max_tokens": 8}).settings
    assert (settings.min_tokens, settings.max_tokens) == (8, 8)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_free_form_integers_of_64_bits_are_taken(number: int) -> None:
    check_free_form({"a": [number]}, "arguments")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_free_form_integers_of_more_than_64_bits_are_refused(number: int) -> None:
    with pytest.raises(LineInvalid, match="`arguments` holds an integer of more than 64 bits"):
        check_free_form({"a": [number]}, "arguments")


@pytest.mark.parametrize("line", [{"custom_id": "a"}, {"body": {}}])
def test_one_key_of_the_openai_format_is_enough_to_know_it(line: dict[str, Any]) -> None:
    decoder = LineDecoder(LineRules("demo"))
    assert decoder.decode(json.dumps(line).encode(), 0, 1).invalid is not None
    assert decoder.format == "openai"


def test_no_token_ids_are_still_those_that_were_asked_for() -> None:
    line = native_line(msgspec.structs.replace(completed(0), token_ids=()))
    assert json.loads(line)["token_ids"] == []
