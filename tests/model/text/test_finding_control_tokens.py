"""Control tokens of which one is the beginning of another."""

from __future__ import annotations

import pytest

from model.text.control_tokens import ControlTokens


@pytest.mark.parametrize("texts", [["<a>", "<a>b"], ["<a>b", "<a>"]])
def test_of_two_control_tokens_that_begin_alike_the_longer_one_is_found(texts: list[str]) -> None:
    tokens = ControlTokens(texts)
    assert list(tokens.split("x<a>bc<a>")) == [(False, "x"), (True, "<a>b"), (False, "c"), (True, "<a>")]
