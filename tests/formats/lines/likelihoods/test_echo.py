"""Lines that repeat their prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.formats.conftest import Decode

Why = Callable[..., str]


def text(**body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "Hi", **body}}


def test_a_line_says_whether_its_prompt_is_repeated(decode: Decode) -> None:
    assert decode(text()).echo is None
    assert decode(text(echo=False)) == decode(text(echo=None)) == decode(text())
    assert decode(text(echo=True)).echo == "all"
    several = decode(text(echo=True, prompt=[[1, 2], [3]], logprobs=1, max_tokens=1))
    assert (several.echo, several.logprobs, len(several.parts())) == ("all", 1, 2)


def test_a_repeated_prompt_may_be_all(decode: Decode, why: Why) -> None:
    alone = decode(text(echo=True, max_tokens=0))
    assert (alone.echo, alone.settings.max_tokens) == ("prompt", 1)
    assert "`max_tokens` is 0; it must be a whole number from 1" in why(text(max_tokens=0))
    assert "`max_tokens` is 0; it must be a whole number from 1" in why(text(max_tokens=0, echo=False))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"echo": 1}, "`echo` is 1; it must be true or false"),
        ({"echo": True, "prompt": [1, 2]}, "`echo` of token ids needs `logprobs`; give the prompt as a text"),
        ({"echo": True, "truncate_prompt_tokens": 3}, "`echo` and `truncate_prompt_tokens` cannot be used together"),
    ],
)
def test_a_wrong_wish_is_told_what_is_wrong(why: Why, body: dict[str, Any], reason: str) -> None:
    assert reason in why(text(**body))


def test_a_conversation_has_no_prompt_to_repeat(why: Why) -> None:
    line = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "Hi"}], "echo": True}}
    assert "`echo` is true; it is not supported" in why(line)
