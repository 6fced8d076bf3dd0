"""A tokenizer.json that would take endless time or memory is refused in one line; an unusual good one is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ModelUnusable
from jobs.records.model_card import builtin_demo_folder
from model.text.tokenizer import Tokenizer

DEMO = json.loads((builtin_demo_folder() / "tokenizer.json").read_text())
BYTE_LEVEL = DEMO["pre_tokenizer"]["pretokenizers"][1]
Load = Callable[..., Tokenizer]


def added(*contents: str) -> list[dict[str, Any]]:
    """The demo's added tokens and these."""
    present: list[dict[str, Any]] = DEMO["added_tokens"]
    like = present[0]
    return present + [like | {"id": 2_000 + n, "content": text} for n, text in enumerate(contents)]


def split(pattern: str) -> dict[str, Any]:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [step, BYTE_LEVEL]}


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the demo's tokenizer with other parts."""

    def load_with(**parts: Any) -> Tokenizer:
        (tmp_path / "tokenizer.json").write_text(json.dumps(DEMO | parts))
        config = (builtin_demo_folder() / "tokenizer_config.json").read_bytes()
        (tmp_path / "tokenizer_config.json").write_bytes(config)
        return Tokenizer.from_folder(tmp_path)

    return load_with


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"added_tokens": added(*(f"<{n}>" for n in range(200_000)))},
            "200,007 added tokens; it may have at most 100,000",
        ),
        ({"added_tokens": added("a" * 10_000)}, "an added token of 10,000 characters; it may have at most 256"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [replace({"String": "\u1234"}, "\u1234" * 9)] * 12}},
            "can make a text more than 100 times longer",
        ),
        ({"normalizer": replace({"Regex": "(a+)+$"}, "b")}, "retry-limit-in-match over"),
        ({"pre_tokenizer": split("(a+)+$")}, "retry-limit-in-match over"),
        ({"pre_tokenizer": split(r"(\w+\s?)+$")}, "retry-limit-in-match over"),
        ({"pre_tokenizer": split("((")}, "unmatched parenthesis"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r"(.+.+)+\z.")] * 100_000}},
            "takes too much time or memory for a short text",
        ),
        ({"decoder": {"type": "Fuse"}}, "not a byte-level tokenizer"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_bomb_is_refused_in_one_line(load: Load, capfd: pytest.CaptureFixture[str], parts: Any, said: str) -> None:
    with pytest.raises(ModelUnusable, match=r"tokenizer\.json") as refused:
        load(**parts)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_file_that_is_far_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelUnusable, match="has 1,099,511,627,776 bytes; it may have at most 268,435,456"):
        Tokenizer.from_folder(tmp_path)


LLAMA = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NFKC = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, replace({"String": " "}, "_")]}


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": split(LLAMA)},
        {"pre_tokenizer": BYTE_LEVEL | {"use_regex": True}, "normalizer": None},
        {"normalizer": NFKC},
        {"added_tokens": added(*(f"<|s_{n}|>" for n in range(5_000)))},
        {"added_tokens": added(*("a" * n for n in range(2, 257)))},
    ],
    ids=["Llama's pattern", "GPT-2's", "two normalizers", "5,000 added tokens", "a token in a token"],
)
def test_an_unusual_tokenizer_is_loaded_and_encodes(load: Load, parts: Any) -> None:
    tokenizer = load(**parts)
    ids = tokenizer.encode_messages([{"role": "user", "content": "Hello<|im_end|>, 1234!"}])
    assert tokenizer.decode(ids, skip_special_tokens=False).count("<|im_end|>") == 2
    assert ids.count(tokenizer.encode("<|im_end|>")[0]) == 1


def test_a_pattern_that_fails_on_one_text_fails_that_text_alone(load: Load) -> None:
    """The loader's probe cannot know every text: this pattern explodes at Greek letters."""
    tokenizer = load(pre_tokenizer=split("(α+)+$"))
    good, bad, better = tokenizer.encode_batch(["Hello", "α" * 60 + "b", "world"])
    assert (good, better) == (tokenizer.encode("Hello"), tokenizer.encode("world"))
    assert isinstance(bad, ValueError)
    assert "the model's tokenizer fails on it" in str(bad)
    with pytest.raises(ValueError, match="the model's tokenizer fails on it"):
        tokenizer.encode_messages([{"role": "user", "content": "α" * 60 + "b"}])


def test_control_tokens_among_thousands_are_found_in_linear_time(load: Load) -> None:
    tokenizer = load(added_tokens=added(*(f"<|s_{n}|>" for n in range(5_000))))
    end = tokenizer.encode("<|im_end|>")[0]
    ids = tokenizer.encode_messages([{"role": "user", "content": "<|s_" * 100_000 + "<|im_end|>"}])
    assert ids.count(end) == 1
