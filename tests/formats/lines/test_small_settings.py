"""Settings of vLLM and the OpenAI API that few lines have."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.files.prompt_file import PromptFile
from jobs.stores.packing import pack_prompts, unpack_prompts
from tests.formats.conftest import Decode

Why = Callable[..., str]


def line(**more: Any) -> dict[str, Any]:
    return {"prompt": "x", **more}


@pytest.mark.parametrize(
    ("setting", "wrong", "reason"),
    [
        ("logit_bias", [5], "`logit_bias` is a list of 1; it must be an object of token ids and numbers"),
        ("logit_bias", {"a": 1}, '`logit_bias` has the key "a"; a key must be a token id'),
        ("logit_bias", {"-1": 1}, '`logit_bias` has the key "-1"'),
        ("logit_bias", {"9" * 30: 1}, "`logit_bias` has the key"),
        ("logit_bias", {"5": 101}, "`logit_bias.5` is 101; it must be a number from -100 to 100"),
        ("logit_bias", {"5": True}, "`logit_bias.5` is true"),
        ("logit_bias", {str(n): 1 for n in range(1025)}, "has 1,025 entries; at most 1,024 are allowed"),
        ("logit_bias", {"1000": 1}, "`logit_bias` holds the token id 1,000; the vocabulary of demo is from 0 to 999"),
        ("allowed_token_ids", [], "`allowed_token_ids` is an empty list; it must have at least one token id"),
        ("allowed_token_ids", ["5"], "it must be a list of token ids"),
        ("allowed_token_ids", [1000], "`allowed_token_ids` holds the token id 1,000"),
        ("bad_words", "bad", '`bad_words` is "bad"; it must be a list of strings'),
        ("bad_words", ["bad", " "], "and not only spaces"),
        ("bad_words", ["x"] * 101, "`bad_words` has 101 entries; at most 100 are allowed"),
        ("include_stop_str_in_output", 1, "it must be true or false"),
        ("skip_special_tokens", "no", "it must be true or false"),
        ("truncate_prompt_tokens", 0, "`truncate_prompt_tokens` is 0; it must be a whole number from 1 to"),
        ("truncate_prompt_tokens", -2, "`truncate_prompt_tokens` is -2"),
        ("truncation_side", "middle", '`truncation_side` is "middle"; it must be "left" or "right"'),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(why: Why, setting: str, wrong: object, reason: str) -> None:
    assert reason in why(line(**{setting: wrong}))


def test_values_that_ask_for_nothing_are_no_settings(decode: Decode) -> None:
    nothing = {"logit_bias": {}, "bad_words": [], "include_stop_str_in_output": False, "skip_special_tokens": True}
    assert decode(line(**nothing)) == decode(line())


def test_the_settings_survive_the_store(decode: Decode) -> None:
    said = {"logit_bias": {"7": 1, "3": -2.5}, "allowed_token_ids": [9, 7, 9], "truncate_prompt_tokens": -1}
    prompt = decode(line(**said, truncation_side="right"))
    assert prompt.settings.logit_bias == ((3, -2.5), (7, 1.0))
    assert prompt.settings.allowed_token_ids == (7, 9)
    assert (prompt.truncate_prompt_tokens, prompt.truncation_side) == (-1, "right")
    assert unpack_prompts(pack_prompts([prompt]).value, "key") == [prompt]


def test_a_bias_gets_one_notice_because_its_ids_may_be_those_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line(logit_bias={"5": 1})) + "\n" for _ in range(2)))
    with PromptFile.open(str(path), io.BytesIO()) as file:
        notices = file.check().report.notices()
    assert notices == ["`logit_bias` of 2 lines counts for this model's token ids, which are not those of GPT."]
