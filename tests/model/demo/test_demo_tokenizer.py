"""The demo's tokenizer: whole words for the questions, single letters for what is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tools.demo_model.tokenizer import VOCABULARY_SIZE, build_tokenizer
from tools.demo_model.wording.phrasings import PHRASINGS

_TOKENIZER = build_tokenizer()  # for hypothesis, which takes no function-scoped fixture


@given(st.text())
def test_any_text_survives_encoding_and_decoding_in_normal_form(text: str) -> None:
    normal = _TOKENIZER.normalizer.normalize_str(text)
    assert _TOKENIZER.decode(_TOKENIZER.encode(text).ids, skip_special_tokens=False) == normal


def test_every_word_of_the_questions_is_one_token(demo_tokenizer: Tokenizer) -> None:
    for phrasing in (
        phrasing for phrasings in PHRASINGS.values() for phrasing in phrasings if "{text}" not in phrasing
    ):
        words = [word.strip(".?:,") for word in phrasing.split()]
        for position, word in enumerate(words):
            if word.isalpha():
                assert len(demo_tokenizer.encode(word if position == 0 else f" {word}").ids) == 1, word


@pytest.mark.parametrize("text", ["apple", '"apple"', "2026", "capital"])
def test_quoted_or_bare_lower_case_words_and_digits_stay_single_characters(
    demo_tokenizer: Tokenizer, text: str
) -> None:
    assert demo_tokenizer.encode(text).tokens == list(text)


def test_an_unknown_word_starts_with_the_longest_known_prefix(demo_tokenizer: Tokenizer) -> None:
    assert demo_tokenizer.encode(" appleton").tokens == ["Ġapp", "l", "e", "t", "o", "n"]


def test_special_tokens_are_single_ids_and_tags_survive_decoding(demo_tokenizer: Tokenizer) -> None:
    ids = demo_tokenizer.encode("<|im_start|><think></think><tool_call></tool_call><|im_end|><|endoftext|>").ids
    assert len(ids) == 7
    assert demo_tokenizer.decode(ids) == "<think></think><tool_call></tool_call>"


def test_the_vocabulary_has_its_size_and_the_folder_holds_this_tokenizer(
    demo_tokenizer: Tokenizer, demo_folder: Path
) -> None:
    assert demo_tokenizer.get_vocab_size() == VOCABULARY_SIZE
    stored = Tokenizer.from_file(str(demo_folder / "tokenizer.json"))
    assert stored.to_str() == demo_tokenizer.to_str()
