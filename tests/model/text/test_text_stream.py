from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from model.text.tokenizer import Tokenizer


def pieces(tokenizer: Tokenizer, ids: list[int], *, skip_special_tokens: bool = True) -> list[str]:
    stream = tokenizer.stream(skip_special_tokens=skip_special_tokens)
    return [*(stream.push(token) for token in ids), stream.flush()]


def test_a_character_of_several_tokens_appears_whole(qwen3_tokenizer: Tokenizer) -> None:
    ids = qwen3_tokenizer.encode("👩🏽‍🚀 ok")
    shown = pieces(qwen3_tokenizer, ids)
    assert len(ids) > len([piece for piece in shown if piece])
    assert "\ufffd" not in "".join(shown)
    assert "".join(shown) == "👩🏽‍🚀 ok"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_the_pieces_are_the_decoded_text_even_of_broken_bytes(qwen3_tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Ids below 256 are single bytes, so most of these sequences are not UTF-8."""
    token = st.one_of(st.integers(0, 255), st.integers(0, 255), st.integers(0, 151_700))
    ids = data.draw(st.lists(token, max_size=30))
    for skip in (True, False):
        shown = "".join(pieces(qwen3_tokenizer, ids, skip_special_tokens=skip))
        assert shown == qwen3_tokenizer.decode(ids, skip_special_tokens=skip)


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_text_streams_back_unbroken(qwen3_tokenizer: Tokenizer, text: str) -> None:
    ids = qwen3_tokenizer.encode(text)
    shown = pieces(qwen3_tokenizer, ids, skip_special_tokens=False)
    assert "".join(shown) == qwen3_tokenizer.decode(ids, skip_special_tokens=False)
    assert shown[-1] == ""


def test_a_completion_cut_inside_a_character_shows_one_replacement(qwen3_tokenizer: Tokenizer) -> None:
    *cut, last = qwen3_tokenizer.encode("𓀀")
    assert pieces(qwen3_tokenizer, [*cut, last]) == [*[""] * len(cut), "𓀀", ""]
    assert pieces(qwen3_tokenizer, cut) == [*[""] * len(cut), "\ufffd"]
