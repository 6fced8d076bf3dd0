"""Long texts are encoded in pieces or refused by their length, and neither changes an id or refuses what would fit."""

from __future__ import annotations

import random
import sys
import unicodedata
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from jobs.records.model_card import builtin_demo_folder
from model.text.text_encoder import TextEncoder, TooManyTokens
from model.text.token_lower_bound import TokenLowerBound
from tests.model.text.chat.conversations import SNIPPETS

WORDS = [
    *SNIPPETS,
    *(
        "Hello world. ",
        "don't 'LL x's ",
        "e\u0301 cafe\u0301",
        "a\u0338 b\u0301. ",
        "你好，世界。",
        "それは、",
        "한국어. ",
        "привет, ",
    ),
    *(
        "<|im_end|>",
        "<think>",
        "   ",
        "\n\n",
        " \n a",
        "1,234.5",
        "\u212b\u1fef\u037e",
        "\U0002f800",
        "👩‍👩‍👧",
        "x = y;",
    ),
]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=30).map("".join)


def backend_of(folder: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module", params=["demo", "qwen3"])
def backend(request: pytest.FixtureRequest) -> tokenizers.Tokenizer:
    if request.param == "demo":
        return backend_of(builtin_demo_folder())
    return backend_of(request.getfixturevalue("qwen3_tokenizer_folder"))


@pytest.fixture(scope="module")
def lower_bound(backend: tokenizers.Tokenizer) -> TokenLowerBound:
    return TokenLowerBound(backend)


def whole(backend: tokenizers.Tokenizer, text: str) -> list[int]:
    return list(backend.encode(text, add_special_tokens=False).ids)


def is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@settings(deadline=None, max_examples=120)
@given(TEXTS.filter(is_text))
@example("a." * 100)
def test_a_text_in_pieces_has_the_ids_of_the_whole_text(backend: tokenizers.Tokenizer, text: str) -> None:
    assert TextEncoder(backend, batch_chars=2).encode(text) == whole(backend, text)


def test_a_long_text_is_indeed_cut(backend: tokenizers.Tokenizer) -> None:
    encoder = TextEncoder(backend, batch_chars=20)
    text = "Hello world, this is a text. " * 50
    few = encoder.encode(text, max_tokens=30)
    assert isinstance(few, TooManyTokens)
    assert 30 < few.at_least < len(whole(backend, text))
    assert not few.exact


@settings(deadline=None, max_examples=120)
@given(TEXTS.filter(is_text))
@example("\u1fef" * 50)
@example("e\u0301" * 50)
@example(" " * 1_000)
@example("=" * 1_000)
def test_no_text_has_fewer_tokens_than_its_lower_bound(
    backend: tokenizers.Tokenizer, lower_bound: TokenLowerBound, text: str
) -> None:
    assert lower_bound.of(text) <= len(whole(backend, text))


def test_a_text_of_the_longest_token_reaches_the_lower_bound(qwen3_tokenizer_folder: Path) -> None:
    backend = backend_of(qwen3_tokenizer_folder)
    assert TokenLowerBound(backend).of(" " * 12_800) == len(whole(backend, " " * 12_800)) == 100


def test_every_character_that_nfc_shortens_keeps_the_lower_bound(
    backend: tokenizers.Tokenizer, lower_bound: TokenLowerBound
) -> None:
    changed = [
        text
        for code in range(sys.maxunicode + 1)
        if is_text(chr(code))
        for text in [unicodedata.normalize("NFD", chr(code))]
        if len(unicodedata.normalize("NFC", text).encode()) < len(text.encode())
    ]
    assert len(changed) > 10_000
    for start in range(0, len(changed), 500):
        text = "".join(changed[start : start + 500])
        assert lower_bound.of(text) <= len(whole(backend, text))


@pytest.mark.parametrize("flag", ["lstrip", "rstrip"])
def test_a_token_that_swallows_spaces_leaves_no_lower_bound_and_no_cuts(flag: str) -> None:
    backend = backend_of(builtin_demo_folder())
    assert TokenLowerBound(backend).of("a" * 100) > 0
    backend.add_special_tokens([AddedToken("<gap>", special=True, **{flag: True})])
    assert TokenLowerBound(backend).of("a" * 100) == 0
    text = "a " * 500 + "<gap>" + " a" * 500
    assert TextEncoder(backend, batch_chars=2).encode(text) == whole(backend, text)


def test_other_parts_than_qwens_are_never_cut(qwen3_tokenizer_folder: Path) -> None:
    backend = backend_of(qwen3_tokenizer_folder)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    text = "".join(random.Random(1).choices(WORDS, k=200))
    assert TextEncoder(backend, batch_chars=2).encode(text) == whole(backend, text)


@pytest.mark.parametrize("text", [" " * 12_000_000, "a" * 12_000_000, "<|im_end|>" * 990_000])
def test_what_cannot_fit_is_refused_before_it_is_encoded(backend: tokenizers.Tokenizer, text: str) -> None:
    refused = TextEncoder(backend).encode(text, max_tokens=2_000)
    assert isinstance(refused, TooManyTokens)
    assert not refused.exact
    assert refused.at_least > 2_000


def test_a_long_text_that_fits_is_encoded(qwen3_tokenizer_folder: Path) -> None:
    backend = backend_of(qwen3_tokenizer_folder)
    ids = TextEncoder(backend).encode(" " * 1_280_000, max_tokens=10_000)
    assert isinstance(ids, list)
    assert len(ids) == 10_000
