"""OpenAI's client against the service, with a worker that plays by a script."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai import APIError, BadRequestError, InternalServerError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionChunk

from jobs.files.results.origin import Origin
from jobs.online.messages import End, OnlineRequest, Piece, PieceTokens, Refused
from jobs.records.completion import Choice, Completion, ErrorCode, LineError, ToolCall, Usage
from jobs.records.sampling import FinishReason
from server.events.chunks import ChatEvents, CompletionEvents
from server.online.under_way import Kind, NewText
from testing.jobs.packed_logprobs import packed_logprobs
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken
from tests.server.online.conftest import MESSAGES, Background


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_chat_is_answered_at_once(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(client.chat.completions.create, model=model, messages=MESSAGES, temperature=0.5, seed=7)
    request = scripted.take()
    assert (request.stream, request.project, request.attempt) == (False, "default", 0)
    assert (request.prompt.settings.temperature, request.prompt.settings.seed) == (0.5, 7)
    scripted.answer(request, "2 + 3", " is 5.")
    found = answer.result()
    assert (found.object, found.model, found.choices[0].message.content) == ("chat.completion", model, "2 + 3 is 5.")
    assert found.usage.to_dict() == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_a_request_without_a_seed_gets_one(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    seeds = set()
    for _ in range(2):
        answer = background(client.completions.create, model=model, prompt="2 + 3 =")
        request = scripted.take()
        seeds.add(request.prompt.settings.seed)
        scripted.answer(request, " 5")
        assert answer.result().choices[0].text == " 5"
    assert len(seeds) == 2


@pytest.mark.parametrize("asked", [True, False, None])
def test_a_streamed_chat_is_the_same_text_with_the_usage_only_if_asked_for(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background, asked: bool | None
) -> None:
    more: Any = {} if asked is None else {"stream_options": {"include_usage": asked}}
    answer = background(
        lambda: list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more))
    )
    request = scripted.take()
    assert request.stream
    scripted.answer(request, "2 + 3", " is", " 5. 😀")
    first, *chunks, last = answer.result()
    assert first.choices[0].delta.role == "assistant"
    assert text_of(chunks) == "2 + 3 is 5. 😀"
    assert len({chunk.id for chunk in [first, *chunks, last]}) == 1
    if asked:
        assert (last.choices, last.usage.total_tokens) == ([], 11)
        last = chunks[-1]
    assert (last.choices[0].finish_reason, last.usage) == ("stop", None)


@pytest.mark.parametrize("text", ["Hi", 'say "no" \\ \n', "é 😀 \u2028"])
def test_events_of_one_text_differ_in_nothing_else(text: str) -> None:
    origin = Origin("req_1", 'a "content":"" model')
    chat, completion = ChatEvents(origin, 2, wants_usage=True), CompletionEvents(origin, wants_usage=False)
    for choice in (0, 1, 0):
        keys: dict[Kind, str] = {"content": "content", "reasoning": "reasoning_content"}
        for kind, key in keys.items():
            chunk = json.loads(chat.text(NewText(choice, kind, text)).removeprefix(b"data: "))
            (found,) = chunk["choices"]
            assert found == {"index": choice, "delta": {key: text}, "logprobs": None, "finish_reason": None}
            assert (chunk["model"], chunk["object"], chunk["usage"]) == (origin.model, "chat.completion.chunk", None)
        chunk = json.loads(completion.text(NewText(choice, "content", text)).removeprefix(b"data: "))
        assert chunk["choices"] == [{"index": choice, "text": text, "logprobs": None, "finish_reason": None}]
        assert (chunk["model"], chunk["object"], "usage" in chunk) == (origin.model, "text_completion", False)


def test_a_streamed_text_is_the_same_text(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(lambda: list(client.completions.create(model=model, prompt="2 + 3 =", stream=True)))
    scripted.answer(scripted.take(), " 5", ".")
    *chunks, last = answer.result()
    assert "".join(chunk.choices[0].text for chunk in chunks) == " 5."
    assert (last.object, last.choices[0].finish_reason) == ("text_completion", "stop")


def with_calls(request: OnlineRequest) -> End:
    """A thought, a text and two calls; and a second completion."""
    calls = ToolCall("weather", '{"city": "Bern"}'), ToolCall("time", "{}")
    more = (Choice("No.", FinishReason.LENGTH),)
    result = Completion(
        0,
        request.id,
        "Let me look.",
        FinishReason.TOOL_CALLS,
        Usage(5, 20, reasoning_tokens=4),
        endpoint="chat",
        reasoning="Bern, so I call.",
        tool_calls=calls,
        more_choices=more,
    )
    return End(request.id, request.attempt, result)


def test_a_stream_has_the_thought_the_calls_and_every_completion(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    body: Any = {"model": model, "messages": MESSAGES, "tools": tools, "n": 2}
    whole = background(client.chat.completions.create, **body)
    request = scripted.take()
    scripted.say(request, taken(request), with_calls(request))
    stream = background(lambda: list(client.chat.completions.create(stream=True, **body)))
    request = scripted.take()
    thought = Piece(request.id, 0, 0, "Bern, so", kind="reasoning")
    call = '<tool_call>\n{"name": "weather"'
    scripted.say(request, taken(request), thought, *pieces(request, "Let me look.", "\n", call))
    scripted.say(request, with_calls(request))
    for choice in whole.result().choices:
        deltas = [c.choices[0] for c in stream.result() if c.choices and c.choices[0].index == choice.index]
        assert "".join(delta.delta.content or "" for delta in deltas) == choice.message.content
        thoughts = [getattr(delta.delta, "reasoning_content", "") for delta in deltas]
        assert "".join(thoughts) == getattr(choice.message, "reasoning_content", "")
        assert deltas[-1].finish_reason == choice.finish_reason
        found: dict[int, list[str]] = {}
        for delta in deltas:
            for part in delta.delta.tool_calls or ():
                found.setdefault(part.index, []).append((part.function.name or "") + part.function.arguments)
        calls = choice.message.tool_calls or []
        assert ["".join(parts) for parts in found.values()] == [
            each.function.name + each.function.arguments for each in calls
        ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_a_worker_refuses_has_a_status_of_its_own(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background, stream: bool
) -> None:
    answer = background(client.chat.completions.create, model=model, messages=MESSAGES, stream=stream)
    request = scripted.take()
    error = LineError(ErrorCode.PROMPT_TOO_LONG, "The prompt has 9,000 tokens.")
    scripted.say(request, Refused(request.id, 0, error, "messages"))
    with pytest.raises(BadRequestError, match="9,000 tokens") as raised:
        answer.result()
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "messages")


def fail(scripted: ScriptedWorker, request: OnlineRequest) -> None:
    """Let a worker end its request with an error that the client must not see."""
    failed = Completion.failed_prompt(request.prompt, ErrorCode.INTERNAL_ERROR, "Secret path /x")
    scripted.say(request, End(request.id, 0, failed))


def test_an_error_in_mid_stream_is_raised(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(client.chat.completions.create, model=model, messages=MESSAGES, stream=True)
    request = scripted.take()
    scripted.say(request, taken(request), *pieces(request, "2 +"))
    stream = answer.result()  # it has begun
    fail(scripted, request)
    with pytest.raises(APIError, match="had an error"):
        list(stream)


def test_an_error_in_mid_stream_is_its_last_event(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    create = client.chat.completions.with_raw_response.create
    answer = background(create, model=model, messages=MESSAGES, stream=True)
    request = scripted.take()
    scripted.say(request, taken(request), *pieces(request, "2 +"))
    response = answer.result().http_response
    fail(scripted, request)
    text = response.read().decode()
    assert text.endswith("}}\n\n")
    assert "[DONE]" not in text
    assert "Secret" not in text
    assert json.loads(text.split("data: ")[-1])["error"]["code"] == "internal_error"


@pytest.mark.parametrize("asked_before_end", [True, False])
def test_an_answer_that_cannot_be_written_ends_its_stream_with_an_error(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background, asked_before_end: bool
) -> None:
    create = client.completions.with_raw_response.create
    answer = background(create, model=model, prompt="2 +", logprobs=0, stream=True)
    request = scripted.take()
    nameless = packed_logprobs([(1, -0.5)], {})  # the bytes of the token are missing
    tokens = PieceTokens(0, (0,), nameless) if asked_before_end else None
    scripted.say(request, taken(request), Piece(request.id, 0, 0, " 3", tokens=tokens))
    response = answer.result().http_response
    usage, prompt = Usage(5, 1), request.prompt
    result = Completion(0, prompt.id, " 3", FinishReason.STOP, usage, endpoint="completions", logprobs=nameless)
    scripted.say(request, End(request.id, 0, result))
    last = response.read().decode().split("data: ")[-1]
    assert json.loads(last)["error"] == {
        "message": "The server had an error while processing your request.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }


def test_a_model_without_a_worker_is_refused_for_now(client: OpenAI, model: str) -> None:
    with pytest.raises(InternalServerError, match="No worker serves the model") as raised:
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert raised.value.status_code == 503
    assert raised.value.code == "no_worker"
    assert raised.value.response.headers["retry-after"] == "5"
    with pytest.raises(NotFoundError, match="does not exist") as unknown:
        client.chat.completions.create(model="unknown", messages=MESSAGES, stream=True)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"temperature": 99}, "temperature", "invalid_value"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_type"),
        ({"tempratur": 1}, "tempratur", "unknown_parameter"),
        ({"contents": []}, "contents", "unknown_parameter"),
        ({"logprobs": 5}, "logprobs", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": {"usage": True}}, "usage", "unknown_parameter"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
    ],
)
def test_a_faulty_request_is_refused_by_the_name_of_its_key(
    http: httpx.Client, model: str, body: dict[str, Any], param: str, code: str
) -> None:
    answer = http.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES} | body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


def test_what_a_worker_sends_twice_counts_once(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(lambda: list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True)))
    request = scripted.take()
    scripted.say(request, taken(request), *pieces(request, "2 + "))
    scripted.say(request, *pieces(request, "3", offset=4), skipped=-1)
    scripted.say(request, end(request, "2 + 5"))
    assert text_of(answer.result()) == "2 + 5"
