"""The native input line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs.files.formats.line_decoder import LineDecoder
from jobs.files.formats.native import KEYS
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import NOTHING_SAID, RANGES, SamplingSettings
from jobs.stores.packing import pack_prompts, unpack_prompts

Decode = Callable[..., Prompt]
Why = Callable[..., str]

BIAS = {"12": 100, "7": -1.5}
HELLO = {"role": "user", "content": "Hello"}
EVERY_SETTING: dict[str, Any] = {
    "max_tokens": 64,
    "thinking_token_budget": 30,
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "allowed_token_ids": [3, 4],
    "bad_words": ["bad", "worse"],
    "min_tokens": 2,
    "temperature": 0.6,
    "top_k": 20,
    "top_p": 0.95,
    "min_p": 0.05,
    "presence_penalty": 1.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.1,
    "seed": 7,
    "stop": ["\n", "END"],
    "stop_token_ids": [3, 4],
    "ignore_eos": True,
}


def test_a_line_without_settings_comes_back_with_the_one_object_that_needs_no_check(decode: Decode) -> None:
    (stored,) = unpack_prompts(pack_prompts([decode({"id": "q-17", "prompt": "Hello"})]).value, "key")
    assert stored.settings is NOTHING_SAID


def test_a_raw_prompt_is_kept_as_it_is(decode: Decode) -> None:
    prompt = decode({"id": "q-17", "prompt": " Grüße, 世界 \u0000", "max_tokens": 64})
    expected = SamplingSettings(max_tokens=64)
    assert prompt == Prompt(index=0, id="q-17", text=" Grüße, 世界 \u0000", settings=expected)


def test_a_prompt_of_token_ids_is_kept_as_it_is(decode: Decode) -> None:
    assert decode({"prompt": [1, 2, 999]}) == Prompt(index=0, id="1", token_ids=(1, 2, 999))


def test_messages_are_kept_with_the_variables_for_their_template(decode: Decode) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 37 + 48?"}]
    prompt = decode({"messages": messages, "chat_template_kwargs": {"enable_thinking": False}})
    expected = Prompt(index=0, id="1", messages=tuple(messages), chat_template_kwargs={"enable_thinking": False})
    assert prompt == expected


def test_every_sampling_setting_may_stand_on_a_line(decode: Decode) -> None:
    settings = decode({"messages": [HELLO], "return_token_ids": True, **EVERY_SETTING, "logit_bias": BIAS}).settings
    expected = {key: tuple(value) if isinstance(value, list) else value for key, value in EVERY_SETTING.items()}
    settings_said = {name: getattr(settings, name) for name in SamplingSettings.__struct_fields__}
    assert settings_said == expected | {"logit_bias": ((7, -1.5), (12, 100.0))}


def test_the_known_keys_are_the_settings_and_the_lines_own() -> None:
    own = {"id", "prompt", "messages", "return_token_ids", "chat_template_kwargs", "enable_thinking"}
    own |= {"include_reasoning", "n", "truncate_prompt_tokens", "truncation_side", "logprobs", "top_logprobs"}
    spellings = {"max_completion_tokens", "max_output_tokens", "max_new_tokens", "thinking_budget"}
    constraints = {"response_format", "structured_outputs", "guided_json", "guided_json_object", "guided_regex"}
    constraints |= {"guided_choice", "guided_grammar", "guided_whitespace_pattern"}
    assert set(KEYS) == own | spellings | constraints | set(SamplingSettings.__struct_fields__)


def test_a_line_without_an_id_is_called_by_its_number(decode: Decode) -> None:
    assert decode({"prompt": "x"}, number=12).id == "12"


@pytest.mark.parametrize("key", [key for key in KEYS if key != "prompt"])
def test_null_means_not_said(decode: Decode, key: str) -> None:
    assert decode({"prompt": "x", key: None}) == Prompt(index=0, id="1", text="x")


def test_one_stop_string_may_stand_without_a_list(decode: Decode) -> None:
    assert decode({"prompt": "x", "stop": "END"}).settings.stop == ("END",)


def test_a_whole_number_may_be_written_with_a_point(decode: Decode) -> None:
    settings = decode({"prompt": "x", "max_tokens": 64.0, "seed": 1e3, "temperature": 1}).settings
    assert (settings.max_tokens, settings.seed, settings.temperature) == (64, 1000, 1.0)
    assert type(settings.max_tokens) is int
    assert type(settings.temperature) is float


@pytest.mark.parametrize("key", RANGES)
def test_both_ends_of_a_range_are_taken_and_what_lies_outside_is_not(decode: Decode, why: Why, key: str) -> None:
    allowed = RANGES[key]
    assert decode({"messages": [HELLO], key: allowed.high}).invalid is None
    assert (decode({"messages": [HELLO], key: allowed.low}).invalid is None) == allowed.inclusive_low
    below = allowed.low - (2 if key in ("top_k", "seed") else 1)  # -1 means "off" there
    for outside in (below, allowed.high + 1):
        reason = why({"prompt": "x", key: outside})
        assert reason.startswith(f"`{key}` is ")
        assert str(allowed) in reason


@pytest.mark.parametrize("key", RANGES)
@pytest.mark.parametrize("value", ["hot", "1", True, False, [], [1], {}, {"a": 1}])
def test_only_a_number_is_a_number(why: Why, key: str, value: object) -> None:
    reason = why({"prompt": "x", key: value})
    assert reason.startswith(f"`{key}` is ")
    assert "number" in reason


@pytest.mark.parametrize("key", ["max_tokens", "min_tokens", "top_k", "seed"])
def test_a_fraction_is_no_whole_number(why: Why, key: str) -> None:
    assert why({"prompt": "x", key: 1.5}).startswith(f"`{key}` is 1.5; it must be a whole number")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400"])
def test_nan_and_infinity_are_refused(why: Why, number: bytes) -> None:
    assert why(b'{"prompt": "x", "temperature": ' + number + b"}").startswith("the line is not JSON")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "x", "temperature": -1}, "`temperature` is -1; it must be a number from 0 to 10"),
        ({"prompt": "x", "temperature": "hot"}, '`temperature` is "hot"; it must be a number from 0 to 10'),
        ({"prompt": "x", "max_tokens": 0}, "`max_tokens` is 0; it must be a whole number from 1 to 1,000,000"),
        ({"prompt": "x", "top_p": 0}, "`top_p` is 0; it must be a number above 0 and at most 1"),
        ({"prompt": "x", "temprature": 1}, '"temprature" is not a known key; did you mean `temperature`?'),
        ({"prompt": "x", "maxTokens": 1}, '"maxTokens" is not a known key; did you mean `max_tokens`?'),
        ({"promt": "x"}, '"promt" is not a known key; did you mean `prompt`?'),
        ({"prompt": "x", "seed": 2**64}, "`seed` is 18446744073709551616; it must be"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "both `prompt` and `messages`"),
        ({"id": "a"}, "neither `prompt` nor `messages`"),
        ({"prompt": ""}, '`prompt` is ""; the model needs at least one token'),
        ({"prompt": []}, "`prompt` is an empty list; the model needs at least one token"),
        ({"prompt": 7}, "`prompt` is 7; it must be a string or a list of token ids"),
        ({"prompt": ["a", "b"]}, "`prompt` is a list of 2; it must be a list of token ids"),
        ({"prompt": [1, True]}, "it must be a list of token ids"),
        ({"prompt": [1, 2.0]}, "it must be a list of token ids"),
        ({"prompt": [1, -1]}, "`prompt` holds -1; a token id must be from 0"),
        ({"prompt": [1, 2**70]}, "`prompt` holds 1180591620717411303424; a token id must be from 0"),
        ({"prompt": "x", "stop": 1}, "`stop` is 1; it must be a string or a list of strings"),
        ({"prompt": "x", "stop": [""]}, "a `stop` string has 0 characters; it must have 1 to"),
        ({"prompt": "x", "stop": ["a", None]}, "`stop` is a list of 2; it must be a string or a list of strings"),
        ({"prompt": "x", "stop": ["a"] * 17}, "`stop` has 17 strings; at most 16 are allowed"),
        ({"prompt": "x", "stop_token_ids": 5}, "`stop_token_ids` is 5; it must be a list of token ids"),
        ({"prompt": "x", "ignore_eos": 1}, "`ignore_eos` is 1; it must be true or false"),
        ({"prompt": "x", "return_token_ids": "yes"}, '`return_token_ids` is "yes"; it must be true or false'),
        ({"prompt": "x", "return_token_ids": 0}, "`return_token_ids` is 0; it must be true or false"),
        ({"prompt": "x", "min_tokens": 9, "max_tokens": 8}, "`min_tokens` is 9; it must be at most `max_tokens`"),
        ({"prompt": "x", "id": 1.5}, "`id` is 1.5; it must be a string or a whole number"),
        ({"prompt": "x", "id": 2**63}, "`id` is 9223372036854775808; it must be a string or a whole number"),
        ({"prompt": "x", "id": ""}, "`id` has 0 characters; it must have 1 to 512"),
        ({"prompt": "x", "id": "a" * 513}, "`id` has 513 characters; it must have 1 to 512"),
        ({"prompt": "x", "chat_template_kwargs": {"enable_thinking": False}}, "applies only to `messages`"),
        ([1, 2], "the line is a list of 2; it must be one JSON object"),
        (None, "the line is null; it must be one JSON object"),
        (b'{"prompt": "x"', "the line is not JSON: it ends too early"),
        (
            rb'{"prompt": "\ud800"}',
            r"the line is not JSON: \ud800 is half of a surrogate pair, which is not valid text",
        ),
        (
            rb'{"prompt": "\udc00"}',
            r"the line is not JSON: \udc00 is half of a surrogate pair, which is not valid text",
        ),
        (rb'{"prompt": "\ud83d\ude00"', "the line is not JSON: it ends too early"),
        (b'{"prompt": "x"} {"prompt": "y"}', "the line is not JSON: "),
        (b"{'prompt': 'x'}", "the line is not JSON: "),
        (b'{"prompt": "caf\xe9"}', "the line is not UTF-8: byte 0xe9 at position 16"),
    ],
)
def test_a_bad_line_is_told_what_is_wrong_with_it(why: Why, line: object, reason: str) -> None:
    assert reason in why(line)


@pytest.mark.parametrize("key", ["prompt_logprobs", "best_of", "repetition_detection", "suffix", "functions"])
def test_what_comes_later_is_refused_by_name(why: Why, key: str) -> None:
    assert why({"prompt": "x", key: 5}).startswith(f"`{key}` is 5; it is not supported")


def test_an_unknown_key_of_a_body_that_resembles_none_is_told_them_all(why: Why) -> None:
    line = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}], "zzz": 1}}
    assert "known keys are `messages`, `model`, `max_tokens`" in why(line)


def test_a_bad_line_keeps_its_id_where_that_can_be_read_and_else_has_its_number_in_a_field_of_its_own(
    decode: Decode,
) -> None:
    assert decode({"id": "q-1", "prompt": 7}).id == "q-1"
    for without_id in ({"id": [5], "prompt": "x"}, {"prompt": 7}, b"{"):
        prompt = decode(without_id, number=3)
        assert (prompt.id, prompt.line) == ("", 3)


def test_a_token_id_outside_the_vocabulary_is_refused(decode: Decode, why: Why) -> None:
    expected = "`prompt` holds the token id 1,000; the vocabulary of demo is from 0 to 999"
    assert why({"prompt": [1, 1000]}) == expected
    assert "`stop_token_ids` holds the token id 5,000" in why({"prompt": "x", "stop_token_ids": [5000]})
    assert decode({"prompt": [1, 1000]}, card=None).invalid is None


def test_messages_are_refused_for_a_model_without_a_chat_template(decode: Decode, why: Why) -> None:
    base = ModelCard(name="base", vocab_size=1000, max_model_len=2048, has_chat_template=False)
    line = {"messages": [{"role": "user", "content": "x"}]}
    assert why(line, card=base).startswith("`messages` need a chat template, which base does not have")
    assert decode({"prompt": "x"}, card=base).invalid is None


def test_each_kept_column_is_counted_with_the_lines_that_have_it() -> None:
    decoder = LineDecoder()
    for index, names in enumerate(["ab", "ab", "a", "", "ab", "b"]):
        decoder.decode(json.dumps({"prompt": "x"} | dict.fromkeys(names, 1)).encode(), index, index + 1)
    assert decoder.notes.columns == {"a": 4, "b": 4}
    decoder.decode(b'{"prompt": "x", "b": 1}', 6, 7)
    assert decoder.notes.columns == {"a": 4, "b": 5}
