"""A real worker tells over HTTP how likely the model finds tokens."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
from openai import OpenAI

from model.text.tokenizer import Tokenizer
from testing.processes.worker_under_test import WorkerUnderTest
from tests.server.conftest import ServeProcess, create, lines_of, wait_for
from tests.server.online.conftest import MESSAGES

DEMO = "model/demo"
PAIRS = [("2 + 3 =", " 5"), ("2 + 3 =", " six, I believe"), ("The capital of", " France"), ("ü€", "漢")]


@pytest.fixture(scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.from_folder(request.config.rootpath / DEMO)


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": MESSAGES, "temperature": 0, **more}


def test_a_chat_has_the_same_log_probabilities_whole_streamed_and_in_a_batch(
    client: OpenAI, worker: WorkerUnderTest
) -> None:
    asked = chat(logprobs=True, top_logprobs=3)
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    tokens = whole.logprobs.content or []
    assert "".join(each.token for each in tokens) == whole.message.content
    assert [len(each.top_logprobs) for each in tokens] == [3] * len(tokens)
    assert [each.logprob for each in tokens] == [each.top_logprobs[0].logprob for each in tokens]  # it is greedy
    streamed = list(client.chat.completions.create(**asked, stream=True))
    parts = [chunk.choices[0].logprobs for chunk in streamed if chunk.choices and chunk.choices[0].logprobs]
    assert [each for part in parts for each in part.content or ()] == tokens
    for [choice] in (chunk.choices for chunk in streamed):
        shown = choice.logprobs.content or [] if choice.logprobs else []
        assert "".join(each.token for each in shown) == (choice.delta.content or "")  # the answer is plain ASCII
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": asked}
    [result] = lines_of(client, wait_for(client, create(client, line).id, "completed").output_file_id)
    assert result["response"]["body"]["choices"][0]["logprobs"] == whole.logprobs.to_dict()


@pytest.mark.parametrize(
    "more", [{"logprobs": 2}, {"logprobs": 0, "stop": ["1", "e"]}, {"logprobs": 3, "n": 2, "seed": 5}]
)
def test_the_chunks_of_a_text_have_the_log_probabilities_of_the_whole_text(
    client: OpenAI, worker: WorkerUnderTest, more: dict[str, Any]
) -> None:
    asked: Any = {"model": "demo", "prompt": "ü€ 漢 2 + 3 =", "max_tokens": 24, "temperature": 1.5, "seed": 3} | more
    whole = client.completions.create(**asked)
    chunks = [chunk.choices[0] for chunk in client.completions.create(**asked, stream=True)]
    for choice in whole.choices:
        found: dict[str, list[Any]] = {}
        shown = 0
        for chunk in (each for each in chunks if each.index == choice.index):
            logprobs: dict[str, Any] = chunk.logprobs.to_dict() if chunk.logprobs else {}
            for key, values in logprobs.items():
                found.setdefault(key, []).extend(values)
            assert logprobs or not chunk.text
            if all(token.isascii() for token in found["tokens"]) and chunk.text:
                assert all(shown <= offset < shown + len(chunk.text) for offset in logprobs["text_offset"])
            shown += len(chunk.text)
        assert choice.logprobs is not None
        assert found == choice.logprobs.to_dict()


def test_the_deltas_of_a_response_have_the_log_probabilities_of_the_whole_response(
    client: OpenAI, worker: WorkerUnderTest
) -> None:
    include: Any = ["message.output_text.logprobs"]
    asked: Any = {
        "model": "demo",
        "input": "What is 2 + 3?",
        "temperature": 0,
        "include": include,
        "max_output_tokens": 16,
    }
    events = list(client.responses.create(**asked, stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    found = [each.to_dict() for event in deltas for each in event.logprobs]
    whole: Any = events[-1].to_dict()
    [item] = whole["response"]["output"]
    assert found == item["content"][0]["logprobs"]
    assert ["".join(each.token for each in event.logprobs) for event in deltas] == [event.delta for event in deltas]


@pytest.mark.parametrize(
    "more", [{}, {"logprobs": 2}, {"max_tokens": 0}, {"max_tokens": 0, "logprobs": 0}, {"n": 2, "logprobs": 0}]
)
def test_a_stream_repeats_its_prompts_as_the_whole_answer_does(
    client: OpenAI, worker: WorkerUnderTest, more: dict[str, Any]
) -> None:
    prompt = ["ü€ 漢 2 + 3 =", "The capital of", "2"]
    asked: Any = {"model": "demo", "prompt": prompt, "max_tokens": 8, "temperature": 1, "seed": 3, "echo": True} | more
    whole = client.completions.create(**asked)
    chunks = [chunk.choices[0] for chunk in client.completions.create(**asked, stream=True)]
    for choice in whole.choices:
        parts = [chunk for chunk in chunks if chunk.index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert parts[-1].finish_reason == choice.finish_reason
        found: dict[str, list[Any]] = {}
        for part in parts:
            for key, values in (part.logprobs.to_dict() if part.logprobs else {}).items():
                found.setdefault(key, []).extend(values)
        assert found == (choice.logprobs.to_dict() if choice.logprobs else {})
        assert parts[0].text.startswith(prompt[choice.index // asked.get("n", 1)])
        assert (parts[0].logprobs is not None) == ("logprobs" in asked)


def lm_eval_payload(prompts: list[list[int]]) -> dict[str, Any]:
    """What lm-eval's `local-completions` sends to score continuations."""
    return {
        "model": "demo",
        "prompt": prompts,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "echo": True,
        "seed": 1234,
    }


def lm_eval_scores(answer: dict[str, Any], lengths: list[int]) -> list[tuple[float, bool]]:
    """How lm-eval reads the answer: the sum over each continuation, and whether it is greedy."""
    found = []
    for choice, length in zip(sorted(answer["choices"], key=lambda each: each["index"]), lengths, strict=True):
        values = choice["logprobs"]["token_logprobs"][length:-1]
        likeliest = choice["logprobs"]["top_logprobs"][length:-1]
        greedy = all(value == max(top.values()) for value, top in zip(values, likeliest, strict=True))
        found.append((sum(values), greedy))
    return found


def test_lm_eval_gets_the_scores_that_a_line_with_choices_gets(
    client: OpenAI, worker: WorkerUnderTest, service: ServeProcess, tokenizer: Tokenizer
) -> None:
    contexts = [tokenizer.encode(context) for context, _ in PAIRS]
    wholes = [tokenizer.encode(context + continuation) for context, continuation in PAIRS]
    answer = client.completions.create(**lm_eval_payload(wholes)).to_dict()
    choices: Any = answer["choices"]
    for choice, whole, (context, continuation) in zip(choices, wholes, PAIRS, strict=True):
        logprobs = choice["logprobs"]
        assert len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == len(whole) + 1
        assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
        assert choice["text"].startswith(context + continuation)
    found = lm_eval_scores(answer, [len(context) for context in contexts])
    for (value, greedy), whole, before in zip(found, wholes, contexts, strict=True):
        body = {"model": "demo", "query": before, "items": [[]], "label_token_ids": [whole[len(before)]]}
        [[prob]] = httpx.post(f"{service.address}/v1/score", json=body, timeout=60).json()["scores"]
        assert value <= math.log(prob) + 0.02  # in bfloat16, prefill and decode round differently
        assert not greedy or value > -20


def test_a_repeated_prompt_changes_no_completion(client: OpenAI, worker: WorkerUnderTest) -> None:
    asked: Any = {
        "model": "demo",
        "prompt": ["2 + 3 =", "The capital of"],
        "max_tokens": 12,
        "seed": 3,
        "n": 2,
        "logprobs": 2,
    }
    plain = client.completions.create(**asked)
    echoed = client.completions.create(**asked, echo=True)
    for one, other in zip(plain.choices, echoed.choices, strict=True):
        assert one.logprobs is not None
        assert other.logprobs is not None
        prompt = asked["prompt"][one.index // 2]
        assert other.text == prompt + one.text
        count = len(one.logprobs.tokens or ())
        assert (other.logprobs.token_logprobs or [])[-count:] == one.logprobs.token_logprobs
        assert "".join(other.logprobs.tokens or ()).startswith(prompt)
    alone = client.completions.create(**(asked | {"max_tokens": 0, "n": 1}), echo=True)
    assert [choice.text for choice in alone.choices] == asked["prompt"]
    assert alone.usage is not None
    assert alone.usage.completion_tokens == 0
    for choice, other in zip(alone.choices, echoed.choices[::2], strict=True):
        assert choice.logprobs is not None
        assert other.logprobs is not None
        values = choice.logprobs.token_logprobs or []
        assert values == (other.logprobs.token_logprobs or [])[: len(values)]


def test_scores_are_the_probabilities_of_the_next_token(
    client: OpenAI, worker: WorkerUnderTest, service: ServeProcess, tokenizer: Tokenizer
) -> None:
    labels = [tokenizer.encode(text)[0] for text in ("5", "6", "7")]
    body: dict[str, Any] = {"model": "demo", "query": "2 + 3", "items": [" = ", " is "], "label_token_ids": labels}
    answer = httpx.post(f"{service.address}/v1/score", json=body, timeout=60).json()
    assert (answer["object"], answer["model"]) == ("scoring", "demo")
    shares = httpx.post(f"{service.address}/v1/score", json={**body, "apply_softmax": True}, timeout=60).json()[
        "scores"
    ]
    for probs, share in zip(answer["scores"], shares, strict=True):
        assert all(0 <= prob <= 1 for prob in probs)
        assert 0 < sum(probs) <= 1 + 1e-5
        assert share == pytest.approx([prob / sum(probs) for prob in probs], rel=1e-4, abs=1e-6)
        assert sum(share) == pytest.approx(1, abs=1e-5)
    refused = httpx.post(f"{service.address}/v1/score", json={**body, "stream": True}, timeout=60)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")
