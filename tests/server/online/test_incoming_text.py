"""Pieces of a text, put together."""

from __future__ import annotations

import pytest

from server.online.incoming_text import IncomingText, TextDiffers, TextMissing


def test_pieces_that_nobody_has_fetched_are_merged() -> None:
    text = IncomingText()
    text.add(0, "2 +")
    text.add(3, " 3")
    assert (text.take(), text.take()) == ("2 + 3", "")


def test_a_piece_that_comes_again_is_skipped_as_far_as_it_is_known() -> None:
    text = IncomingText()
    text.add(0, "2 + 3")
    assert text.take() == "2 + 3"
    text.add(2, "+ 3 is")
    text.add(0, "2 +")
    assert text.take() == " is"


def test_a_second_attempt_may_differ_where_nothing_was_handed_out() -> None:
    text = IncomingText()
    text.add(0, "2 + ")
    assert text.take() == "2 + "
    text.add(4, "3 is")
    text.add(8, " five")
    text.add(2, "+ 4")  # of another worker, in other pieces
    text.add(5, " is 6")
    assert text.take() == "4 is 6"
    text.finish("2 + 4 is 6.")
    assert text.take() == "."


@pytest.mark.parametrize(("offset", "piece"), [(0, "2 -"), (2, "+ 4 is"), (4, "4")])
def test_a_piece_that_contradicts_what_was_handed_out_is_noticed(offset: int, piece: str) -> None:
    text = IncomingText()
    text.add(0, "2 + 3")
    text.take()
    with pytest.raises(TextDiffers):
        text.add(offset, piece)
    assert text.take() == ""


def test_a_gap_is_noticed() -> None:
    text = IncomingText()
    text.add(0, "2")
    with pytest.raises(TextMissing):
        text.add(2, "+")


@pytest.mark.parametrize(
    ("so_far", "handed_out"),
    [
        ("Let me look. ", "Let me look."),
        ("Let me look.\n<tool", "Let me look."),
        ("Let me look.\n<tool_call>\n{", "Let me look."),
        ("\n\n<tool_call>", ""),
        ("a <b", "a <b"),
        ("a <", "a"),
    ],
)
def test_what_may_be_a_tool_call_is_held_back(so_far: str, handed_out: str) -> None:
    text = IncomingText(may_call=True)
    for offset, char in enumerate(so_far):
        text.add(offset, char)
    assert text.take() == handed_out
    text.finish(handed_out + "!")
    assert text.take() == "!"


def test_a_whole_text_that_contradicts_what_was_handed_out_is_noticed() -> None:
    text = IncomingText()
    text.add(0, "2 + 3")
    text.take()
    with pytest.raises(TextDiffers):
        text.finish("2 + 4")
