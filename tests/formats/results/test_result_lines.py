"""Result lines of both formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion as OpenAICompletion
from openai.types.chat import ChatCompletion

from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Choice, Completion, ErrorCode, Usage
from jobs.records.job import Format, Job, JobState, NewJob
from jobs.records.prompt import Endpoint, Prompt
from jobs.records.sampling import FinishReason, SamplingSettings


def job(format: Format) -> Job:
    """A job of ten lines that has ended."""
    spec = NewJob("job-1", "demo", format, SamplingSettings(), 0, 10, 16, "prompts.jsonl", 1000.0)
    return Job(spec, JobState.COMPLETED, False, 10, 0, 1, 1, 1, None, None, None, None)


def completion(endpoint: Endpoint = "native", **more: Any) -> Completion:
    return Completion(
        index=3,
        id="q-17",
        text='Ein "Text" mit 世界 \u0000\n',
        finish_reason=FinishReason.STOP,
        usage=Usage(10, 41),
        endpoint=endpoint,
        finished_at=1700000000.75,
        **more,
    )


def parsed(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    result: dict[str, Any] = json.loads(line)
    return result


def test_a_native_result_has_the_documented_fields_in_their_order() -> None:
    result = parsed(native_line(completion()))
    assert list(result) == ["id", "completion", "finish_reason", "usage", "error"]
    assert result == {
        "id": "q-17",
        "completion": 'Ein "Text" mit 世界 \u0000\n',
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 10, "completion_tokens": 41},
        "error": None,
    }


def test_a_native_result_has_its_token_ids_only_if_they_were_asked_for() -> None:
    assert parsed(native_line(completion(token_ids=(5, 6))))["token_ids"] == [5, 6]
    assert "token_ids" not in parsed(native_line(completion()))


@pytest.mark.parametrize("code", ErrorCode)
def test_a_native_error_stands_in_the_result_line(code: ErrorCode) -> None:
    assert parsed(native_line(Completion.failed(3, "q-17", code, "Why."))) == {
        "id": "q-17",
        "completion": None,
        "finish_reason": None,
        "usage": None,
        "error": {"code": code.value, "message": "Why."},
    }


def test_a_bad_line_without_an_id_has_its_number_beside_the_id_in_both_formats() -> None:
    prompt = Prompt(index=16, id="", invalid="no JSON", line=17)
    unnamed = Completion.failed_prompt(prompt, ErrorCode.INVALID_LINE, "no JSON")
    native, openai = parsed(native_line(unnamed)), parsed(openai_line(unnamed, job("openai")))
    assert (native["id"], native["line"]) == (None, 17)
    assert (openai["custom_id"], openai["line"]) == (None, 17)
    assert list(openai) == ["id", "custom_id", "response", "error", "line"]


def test_a_chat_result_parses_with_openais_own_types() -> None:
    line = parsed(openai_line(completion("chat"), job("openai")))
    assert list(line) == ["id", "custom_id", "response", "error"]
    assert (line["custom_id"], line["error"], line["response"]["status_code"]) == ("q-17", None, 200)
    assert line["id"].startswith("batch_req_")
    body = ChatCompletion.model_validate(line["response"]["body"], strict=True)
    assert (body.object, body.model, body.created) == ("chat.completion", "demo", 1700000000)
    [choice] = body.choices
    assert (choice.message.role, choice.message.content) == ("assistant", 'Ein "Text" mit 世界 \u0000\n')
    assert choice.finish_reason == "stop"
    assert body.usage is not None
    assert (body.usage.prompt_tokens, body.usage.completion_tokens, body.usage.total_tokens) == (10, 41, 51)


def test_a_completions_result_parses_with_openais_own_types() -> None:
    line = parsed(openai_line(completion("completions", token_ids=(5, 6)), job("openai")))
    body = OpenAICompletion.model_validate(line["response"]["body"], strict=True)
    assert body.object == "text_completion"
    assert body.choices[0].text == 'Ein "Text" mit 世界 \u0000\n'
    assert line["response"]["body"]["choices"][0]["token_ids"] == [5, 6]


def test_ids_differ_between_lines_and_not_between_readings() -> None:
    first, again = (openai_line(completion("chat"), job("openai")) for _ in range(2))
    other = parsed(openai_line(Completion(4, "q-18", "x", FinishReason.LENGTH), job("openai")))
    assert first == again
    for path in (["id"], ["response", "request_id"], ["response", "body", "id"]):
        mine, theirs = parsed(first), other
        for key in path:
            mine, theirs = mine[key], theirs[key]
        assert mine != theirs


@pytest.mark.parametrize(
    ("code", "status", "kind", "name"),
    [
        (ErrorCode.INVALID_LINE, 400, "invalid_request_error", "invalid_line"),
        (ErrorCode.PROMPT_TOO_LONG, 400, "invalid_request_error", "context_length_exceeded"),
        (ErrorCode.WORKER_LOST, 500, "server_error", "worker_lost"),
        (ErrorCode.INTERNAL_ERROR, 500, "server_error", "internal_error"),
    ],
)
def test_an_openai_line_that_ran_and_failed_looks_like_a_failed_request(
    code: ErrorCode, status: int, kind: str, name: str
) -> None:
    line = parsed(openai_line(Completion.failed(3, "q-17", code, "Why.", "chat"), job("openai")))
    assert line["error"] is None
    assert line["response"]["status_code"] == status
    assert line["response"]["body"] == {"error": {"message": "Why.", "type": kind, "param": None, "code": name}}


@pytest.mark.parametrize(
    ("code", "name"), [(ErrorCode.CANCELLED, "batch_cancelled"), (ErrorCode.EXPIRED, "batch_expired")]
)
def test_an_openai_line_that_never_ran_has_no_response(code: ErrorCode, name: str) -> None:
    line = parsed(openai_line(Completion.failed(3, "q-17", code, "Why.", "chat"), job("openai")))
    assert line["response"] is None
    assert line["error"] == {"code": name, "message": "Why."}


def several(endpoint: Endpoint = "native") -> Completion:
    """A completion of a line that asked for two, of which the first was cut."""
    more = (Choice("zwei", FinishReason.LENGTH, (7,), "hm"),)
    return completion(endpoint, token_ids=(5, 6), more_choices=more)


def test_a_native_result_of_several_completions_has_all_of_them_beside_the_first() -> None:
    result = parsed(native_line(several()))
    assert (result["completion"], result["finish_reason"]) == (completion().text, "stop")
    first, second = result["choices"]
    assert first == {"index": 0, "completion": completion().text, "finish_reason": "stop", "token_ids": [5, 6]}
    assert second == {
        "index": 1,
        "completion": "zwei",
        "reasoning": "hm",
        "finish_reason": "length",
        "token_ids": [7],
    }


def test_an_openai_result_of_several_completions_has_one_choice_for_each() -> None:
    body = parsed(openai_line(several("chat"), job("openai")))["response"]["body"]
    found = ChatCompletion.model_validate(body, strict=True)
    assert [(choice.index, choice.finish_reason) for choice in found.choices] == [(0, "stop"), (1, "length")]
    assert [choice.message.content for choice in found.choices] == [completion().text, "zwei"]
    body = parsed(openai_line(several("completions"), job("openai")))["response"]["body"]
    raw = OpenAICompletion.model_validate(body, strict=True)
    assert [(choice.index, choice.text) for choice in raw.choices] == [(0, completion().text), (1, "zwei")]
