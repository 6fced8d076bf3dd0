"""The OpenAI Batch input line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.formats.model_checks import same_model
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.packing import pack_prompts, unpack_prompts

Decode = Callable[..., Prompt]
Why = Callable[..., str]

MESSAGES = [{"role": "user", "content": "Hello"}]


def chat(**body: Any) -> dict[str, Any]:
    """A chat line whose body has these fields on top of the usual ones."""
    return line("/v1/chat/completions", {"model": "demo", "messages": MESSAGES, **body})


def raw(**body: Any) -> dict[str, Any]:
    """A completions line, likewise."""
    return line("/v1/completions", {"model": "demo", "prompt": "Hello", **body})


def line(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "request-1", "method": "POST", "url": url, "body": body}


def test_a_chat_line_becomes_a_prompt_with_messages(decode: Decode) -> None:
    assert decode(chat(max_tokens=1000)) == Prompt(
        index=0,
        id="request-1",
        messages=tuple(MESSAGES),
        endpoint="chat",
        settings=SamplingSettings(max_tokens=1000),
    )


@pytest.mark.parametrize("prompt", ["Hello", ["Hello"]])
def test_a_completions_line_becomes_a_raw_prompt(decode: Decode, prompt: object) -> None:
    assert decode(raw(prompt=prompt)) == Prompt(index=0, id="request-1", text="Hello", endpoint="completions")


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]]])
def test_a_completions_line_may_give_token_ids(decode: Decode, prompt: object) -> None:
    assert decode(raw(prompt=prompt)).token_ids == (1, 2)


def test_the_newer_name_of_max_tokens_means_the_same(decode: Decode, why: Why) -> None:
    assert decode(chat(max_completion_tokens=5)).settings.max_tokens == 5
    assert decode(chat(max_completion_tokens=5, max_tokens=5)).settings.max_tokens == 5
    assert why(chat(max_completion_tokens=5, max_tokens=6)) == "`max_tokens` is 6 but `max_completion_tokens` is 5"
    assert "`max_completion_tokens` is 0; it must be a whole number from 1" in why(chat(max_completion_tokens=0))


def test_the_further_settings_of_vllm_are_taken(decode: Decode) -> None:
    said: dict[str, Any] = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "ignore_eos": True, "min_tokens": 1}
    prompt = decode(
        chat(stop_token_ids=[7], return_token_ids=True, chat_template_kwargs={"enable_thinking": False}, **said)
    )
    assert prompt.settings == SamplingSettings(stop_token_ids=(7,), **said)
    assert prompt.return_token_ids
    assert prompt.chat_template_kwargs == {"enable_thinking": False}


HARMLESS = {
    "n": 1,
    "stream": False,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "response_format": {"type": "text"},
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "modalities": ["text"],
    "user": "someone",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "auto",
    "seed": None,
    "audio": None,
    "anything": None,
    "web_search_options": {},
    "extra_body": {},
}


@pytest.mark.parametrize("key", HARMLESS)
def test_a_field_that_asks_for_nothing_is_taken(decode: Decode, key: str) -> None:
    assert decode(chat(**{key: HARMLESS[key]})) == decode(chat())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt_logprobs", 5),
        ("best_of", 2),
        ("best_of", True),
        ("length_penalty", 0.5),
        ("use_beam_search", True),
        ("repetition_detection", {"max_pattern_size": 5}),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("reasoning_effort", "low"),
        ("audio", {"voice": "alloy"}),
        ("web_search_options", {"search_context_size": "low"}),
        ("prediction", {"type": "content"}),
    ],
)
def test_a_field_that_is_not_supported_is_refused_by_name(why: Why, key: str, value: object) -> None:
    reason = why(chat(**{key: value}))
    assert reason.startswith(f"`{key}` is ")
    assert "it is not supported" in reason


def test_streaming_is_refused(why: Why) -> None:
    assert why(chat(stream=True)) == "`stream` is true; it is not supported: a batch job does not stream"


@pytest.mark.parametrize("endpoint", [chat, raw])
def test_every_field_that_the_api_defines_is_known(decode: Decode, endpoint: Callable[..., dict[str, Any]]) -> None:
    params = chat_create_params if endpoint is chat else completion_create_params
    fields = inspect.get_annotations(params.CompletionCreateParamsBase)
    assert {"model", "logit_bias", "seed"} <= set(fields)
    for key in set(fields) - {"model", "messages", "prompt"}:
        reason = decode(endpoint(**{key: {"what": "ever"}})).invalid or ""
        assert "not a known key" not in reason


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"custom_id": [5]}, "`custom_id` is a list of 1; it must be a string or a whole number"),
        ({"custom_id": True}, "`custom_id` is true; it must be a string or a whole number"),
        ({"custom_id": 1.5}, "`custom_id` is 1.5; it must be a string or a whole number"),
        ({"method": "GET"}, '`method` is "GET"; it must be "POST"'),
        ({"method": 5}, '`method` is 5; it must be "POST"'),
        ({"url": "/v1/moderations"}, "/v1/responses, /v1/score, /v1/embeddings or /v1/rerank"),
        ({"url": ["/v1/completions"]}, "`url` is a list of 1"),
        ({"body": "x"}, '`body` is "x"; it must be an object'),
        ({"bodi": {}}, '"bodi" is not a known key; did you mean `body`?'),
    ],
)
def test_a_bad_envelope_is_told_what_is_wrong(why: Why, wrong: dict[str, Any], reason: str) -> None:
    assert reason in why(chat() | wrong)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (chat(temperature=-1), "`temperature` is -1; it must be a number from 0 to 10"),
        (chat(temprature=1), '"temprature" is not a known key; did you mean `temperature`?'),
        (chat(messages=None), "`messages` is null; it must be a list of at least one message"),
        (chat(prompt="x"), '"prompt" is not a known key'),
        (raw(prompt=None), "`prompt` is missing"),
        (raw(prompt=["a", ""]), '`prompt` is ""; the model needs at least one token to continue from'),
        (raw(prompt=["a", None]), "`prompt[1]` is null; it must be a string or a list of token ids"),
        (raw(prompt=["a", 5]), "`prompt` is 5; it must be a string or a list of token ids"),
        (raw(prompt=[[1], [-2]]), "`prompt` holds -2; a token id must be from 0"),
        (raw(prompt=["a"] * 2049), "`prompt` has 2,049 prompts; at most 2,048 are allowed"),
        (raw(prompt=["a"] * 17, n=128), "`n` is 128 for 17 prompts; at most 2,048 completions per line are allowed"),
        (raw(prompt=""), "the model needs at least one token"),
        (raw(prompt=[[]]), "the model needs at least one token"),
        (raw(prompt=[[[1]]]), "`prompt` is a list of 1; it must be a list of token ids"),
        (raw(prompt=[5000]), "`prompt` holds the token id 5,000"),
        (raw(messages=MESSAGES), '"messages" is not a known key'),
        (raw(echo="yes"), '`echo` is "yes"; it must be true or false'),
        (raw(suffix="x"), '`suffix` is "x"; it is not supported'),
        (raw(best_of=2), "`best_of` is 2; it is not supported"),
        (raw(logprobs=21), "`logprobs` is 21; it must be a whole number from 0 to 20"),
        (raw(chat_template_kwargs={}), '"chat_template_kwargs" is not a known key'),
        (chat(chat_template_kwargs={"messages": []}), 'has "messages"; a line cannot set this variable'),
        (chat(chat_template_kwargs=[]), "`chat_template_kwargs` is an empty list; it must be an object"),
        (chat(model="gpt-4o"), '`body.model` is "gpt-4o"; this job runs on "demo"'),
        (chat(model=5), "`body.model` is 5; it must name a model"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(why: Why, bad: dict[str, Any], reason: str) -> None:
    assert reason in why(bad)


@pytest.mark.parametrize(
    ("said", "served", "same"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", True),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B@main", True),
        ("qwen3-0.6b", "Qwen/Qwen3-0.6B", True),
        ("Qwen/Qwen3-0.6B", "Qwen3-0.6B", True),
        ("Other/Qwen3-0.6B", "Qwen/Qwen3-0.6B", False),
        ("Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B", False),
        ("gpt-4o", "demo", False),
    ],
)
def test_two_names_of_one_model_are_the_same(said: str, served: str, same: bool) -> None:
    assert same_model(said, served) is same


def test_a_file_holds_one_of_the_two_formats() -> None:
    decoder = LineDecoder(LineRules("demo"))
    assert decoder.decode(b"not json", 0, 1).invalid
    assert decoder.decode(json.dumps(chat()).encode(), 1, 2).invalid is None
    assert decoder.format == "openai"
    mixed = decoder.decode(b'{"prompt": "x"}', 2, 3)
    assert "the line is in the native format, but the file's first line is in the OpenAI Batch format" in str(
        mixed.invalid
    )


def test_a_line_may_ask_for_several_completions(decode: Decode, why: Why) -> None:
    assert [decode(line(n=128)).n for line in (chat, raw)] == [128, 128]
    assert decode(chat(n=1)) == decode(chat())
    for wrong in (0, 129, 1.5, True, "2"):
        assert "`n` is" in why(chat(n=wrong))
        assert "it must be a whole number from 1 to 128" in why(chat(n=wrong))


def test_a_line_of_completions_may_have_several_prompts(decode: Decode) -> None:
    prompt = decode(raw(prompt=["a", "b", "c"], n=2))
    assert (prompt.text, prompt.more_prompts, prompt.num_choices) == ("a", ("b", "c"), 6)
    assert [part.text for part in prompt.parts()] == ["a", "b", "c"]
    ids = decode(raw(prompt=[[1, 2], [3]]))
    assert (ids.token_ids, ids.more_prompts, ids.num_choices) == ((1, 2), ((3,),), 2)
    assert [part.token_ids for part in ids.parts()] == [(1, 2), (3,)]
    (stored,) = unpack_prompts(pack_prompts([prompt]).value, "key")
    assert stored == prompt


def test_the_vocabulary_holds_for_every_prompt_of_a_line(why: Why) -> None:
    assert "`prompt` holds the token id 5,000" in why(raw(prompt=[[1], [5000]]))
