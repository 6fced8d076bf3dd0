"""`/v1/responses`: OpenAI's client gets the same response whole and in events."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.responses import Response

from jobs.online.messages import End, OnlineRequest, Piece
from jobs.records.completion import Completion, ErrorCode, ToolCall, Usage
from jobs.records.sampling import FinishReason
from testing.jobs.packed_logprobs import packed_logprobs
from testing.jobs.scripted_worker import ScriptedWorker, pieces, taken
from tests.server.online.conftest import Background

ASKED: Any = {"input": "What is 2 + 3?", "instructions": "Be brief."}


def result_of(request: OnlineRequest, text: str, finish_reason: FinishReason, **more: Any) -> End:
    prompt, usage = request.prompt, Usage(5, 9)
    result = Completion(0, prompt.id, text, finish_reason, usage, endpoint=prompt.endpoint, **more)
    return End(request.id, request.attempt, result)


def without_ids(response: Response) -> dict[str, Any]:
    """What two answers to the same request have in common."""
    found = response.to_dict()
    items: Any = found["output"]
    for item in (found, *items):
        for key in ("id", "created_at", "call_id"):
            item.pop(key, None)
    return found


RESULTS: list[tuple[str, FinishReason, dict[str, Any]]] = [
    ("2 + 3 is 5.", FinishReason.STOP, {"reasoning": "Add them."}),
    ("2 + 3", FinishReason.LENGTH, {}),
    ("2 + 3", FinishReason.STOP, {"logprobs": packed_logprobs([(1, -0.5), (2, -2.0)], {1: b"2 +", 2: b" 3"})}),
    ("", FinishReason.STOP, {}),
    ("", FinishReason.LENGTH, {"reasoning": "Add", "ended_in_thought": True}),
    ("Look:", FinishReason.TOOL_CALLS, {"tool_calls": (ToolCall("add", '{"a": 2}'), ToolCall("add", "{}"))}),
]


@pytest.mark.parametrize(("text", "finish_reason", "more"), RESULTS)
def test_the_events_of_a_response_make_the_whole_response(
    client: OpenAI,
    scripted: ScriptedWorker,
    model: str,
    background: Background,
    text: str,
    finish_reason: FinishReason,
    more: dict[str, Any],
) -> None:
    whole = background(client.responses.create, model=model, **ASKED)
    request = scripted.take()
    assert [message["role"] for message in request.prompt.messages or ()] == ["system", "user"]
    scripted.say(request, taken(request), result_of(request, text, finish_reason, **more))

    streamed = background(lambda: list(client.responses.create(model=model, stream=True, **ASKED)))
    request = scripted.take()
    thought = (Piece(request.id, 0, 0, more["reasoning"], kind="reasoning"),) if "reasoning" in more else ()
    scripted.say(request, taken(request), *thought, *(pieces(request, text[:4]) if text else ()))
    scripted.say(request, result_of(request, text, finish_reason, **more))
    events = streamed.result()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1].response
    assert events[-1].type == f"response.{last.status}"
    assert without_ids(last) == without_ids(whole.result())
    assert (last.output_text, last.to_dict()["store"]) == (text, False)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.to_dict() for item in done] == [item.to_dict() for item in last.output]


def test_a_response_that_fails_in_mid_stream_says_so(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(client.responses.create, model=model, stream=True, **ASKED)
    request = scripted.take()
    scripted.say(request, taken(request))
    stream = answer.result()  # it has begun
    failed = Completion.failed_prompt(request.prompt, ErrorCode.INTERNAL_ERROR, "Secret")
    scripted.say(request, End(request.id, 0, failed))
    *_, last = list(stream)
    assert (last.type, last.response.status, last.response.error.code) == (
        "response.failed",
        "failed",
        "internal_error",
    )


def test_what_would_need_a_kept_response_is_refused_by_name(client: OpenAI, model: str) -> None:
    for key, value in {"previous_response_id": "resp_1", "conversation": "conv_1", "background": True}.items():
        with pytest.raises(BadRequestError) as raised:
            client.responses.create(model=model, input="Hi", extra_body={key: value})
        assert raised.value.param == key
