"""Fields of a line for log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.formats.conftest import Decode

Why = Callable[..., str]
MESSAGES = [{"role": "user", "content": "Hi"}]
IN_THE_MESSAGE = "message.output_text.logprobs"


def chat(**body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "url": "/v1/chat/completions", "body": {"messages": MESSAGES, **body}}


def text(**body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "Hi", **body}}


def response(**body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "url": "/v1/responses", "body": {"input": "Hi", **body}}


def native(**fields: Any) -> dict[str, Any]:
    return {"prompt": "Hi", **fields}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (chat(logprobs=True), 0),
        (chat(logprobs=True, top_logprobs=20), 20),
        (chat(logprobs=False), None),
        (chat(logprobs=None, top_logprobs=None), None),
        (chat(top_logprobs=0), None),
        (text(logprobs=0), 0),
        (text(logprobs=20), 20),
        (text(logprobs=False), None),
        (response(include=[IN_THE_MESSAGE]), 0),
        (response(include=[IN_THE_MESSAGE], top_logprobs=5), 5),
        (response(include=[]), None),
        (native(logprobs=3), 3),
        (native(logprobs=True), 0),
        (native(logprobs=True, top_logprobs=5), 5),
        (native(logprobs=5, top_logprobs=5), 5),
        (native(), None),
    ],
)
def test_a_line_says_how_many_of_the_likeliest_tokens_it_wants(
    decode: Decode, line: dict[str, Any], wanted: int | None
) -> None:
    prompt = decode(line)
    assert (prompt.invalid, prompt.logprobs) == (None, wanted)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (chat(logprobs=5), "`logprobs` is 5; it must be true or false, and `top_logprobs` a number from 0 to 20"),
        (chat(logprobs=True, top_logprobs=21), "`top_logprobs` is 21; it must be a whole number from 0 to 20"),
        (chat(top_logprobs=5), "`top_logprobs` is 5, but the line asks for no log-probabilities; add `logprobs: true`"),
        (text(logprobs=True), "`logprobs` is true; it must be a whole number from 0 to 20"),
        (text(logprobs=-1), "`logprobs` is -1; it must be a whole number from 0 to 20"),
        (response(top_logprobs=5), f'add "{IN_THE_MESSAGE}" to `include`'),
        (response(include=["file_search_call.results"]), '`include` has "file_search_call.results"; it may only have'),
        (response(include=IN_THE_MESSAGE), "it must be a list"),
        (native(logprobs=2, top_logprobs=5), "`logprobs` is 2 but `top_logprobs` is 5"),
        (native(logprobs="yes"), '`logprobs` is "yes"; it must be a whole number from 0 to 20'),
    ],
)
def test_a_wrong_wish_is_told_what_is_wrong(why: Why, line: dict[str, Any], reason: str) -> None:
    assert reason in why(line)
