"""Lines of `/v1/responses` and of other services' batch files, as far as they hold only text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response

from jobs.records.job import ShardRef
from jobs.stores.protocol import JobStore
from testing.processes.command_line import write_jsonl
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli

ASK = [{"role": "user", "content": "What is 37 + 48?"}]


def responses(**body: Any) -> dict[str, Any]:
    return {"custom_id": "r-1", "method": "POST", "url": "/v1/responses", "body": {"model": "demo"} | body}


def test_a_responses_line_with_text_is_answered_by_a_response_object(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    said = [{"type": "output_text", "text": "1"}]
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "One?"}]},
        {"type": "message", "role": "assistant", "status": "completed", "content": said},
    ]
    lines = [
        responses(input="What?", instructions="Be brief.", max_output_tokens=5, text={"format": {"type": "text"}}),
        responses(input=items, reasoning={"effort": "none"}, truncation="disabled") | {"custom_id": "r-2"},
    ]
    job_id = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", lines)).stdout.strip()
    first, second = (prompt for prompt, _ in store.jobs.lines(ShardRef(job_id, 0)))
    assert first.messages == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"})
    assert first.settings.max_tokens == 5
    assert second.messages == ({"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"})
    assert second.chat_template_kwargs == {"enable_thinking": False}
    run_job(store, job_id)
    result = json.loads(cli("results", job_id).stdout.splitlines()[0])
    response = Response.model_validate(result["response"]["body"], strict=True)
    assert (response.output_text, response.status, response.model) == ("answer to r-1", "completed", "demo")
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "only text parts are supported"),
        (
            {"input": [{"type": "web_search_call"}]},
            '`input[0].type` is "web_search_call"; only messages, function calls and their outputs are supported',
        ),
        ({"input": [{"type": "function_call"}]}, "`input[0].tool_calls[0].function.name` is null"),
        ({"input": "x", "previous_response_id": "r"}, "put the earlier messages into `input`"),
        (
            {"input": "x", "prompt": {"id": "pmpt_1"}},
            "it is not supported: OpenAI keeps the text of this prompt; write",
        ),
        ({"input": "x", "tools": [{"type": "web_search"}]}, '`tools[0].type` is "web_search"; only "function"'),
        ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "`text.format` has no `schema`"),
        ({"input": "x", "stream": True}, "a batch job does not stream"),
        ({"input": 5}, "`input` is 5; it must be a string or a list of messages"),
        ({"input": "x", "messages": ASK}, '"messages" is not a known key'),
    ],
)
def test_a_responses_line_with_more_than_text_is_refused_by_name(
    cli: Cli, tmp_path: Path, body: dict[str, Any], reason: str
) -> None:
    done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", [responses(**body)]))
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


TURNS = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"})
CLAUDE = {"max_tokens": 7, "system": "Be brief.", "messages": [TURNS[1]], "stop_sequences": ["END"]}
OTHER_SERVICES: dict[str, dict[str, Any]] = {
    "Anthropic": {"custom_id": "q", "params": CLAUDE | {"model": "demo"}},
    "Bedrock": {"recordId": "q", "modelInput": CLAUDE | {"anthropic_version": "bedrock-2023-05-31"}},
    "Gemini": {
        "key": "q",
        "request": {
            "contents": [{"role": "user", "parts": [{"text": "What?"}]}],
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {"maxOutputTokens": 7, "stopSequences": ["END"], "candidateCount": 1},
        },
    },
    "Gemini in the envelope of OpenAI": {
        "custom_id": "q",
        "method": "POST",
        "url": "/v1beta/models/gemini-2.0-flash:generateContent",
        "body": {
            "contents": [{"parts": [{"text": "What?"}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {"max_output_tokens": 7, "stop_sequences": ["END"]},
        },
    },
    "ShareGPT": {
        "id": "q",
        "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "What?"}],
        **{"max_tokens": 7, "stop": "END"},
    },
}


@pytest.mark.parametrize("service", OTHER_SERVICES)
def test_lines_of_other_services_run_and_keep_their_ids_and_columns(
    cli: Cli, store: JobStore, tmp_path: Path, service: str
) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [OTHER_SERVICES[service] | {"gold": 5}])
    done = cli("submit", path)
    assert done.returncode == 0, done.stderr
    ((prompt, _),) = store.jobs.lines(ShardRef(done.stdout.strip(), 0))
    assert (prompt.id, prompt.messages) == ("q", TURNS)
    assert (prompt.settings.max_tokens, prompt.settings.stop) == (7, ("END",))
    run_job(store, done.stdout.strip())
    result = json.loads(cli("results", done.stdout.strip()).stdout)
    assert (result["completion"], result["input"]) == ("answer to q", {"gold": 5})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            {"custom_id": "q", "params": CLAUDE | {"tools": [{"name": "f"}]}},
            "Anthropic Message Batches format; `tools[0].type` is null",
        ),
        (
            {"request": {"contents": [{"parts": [{"inlineData": {}}]}]}},
            "Gemini Batch format; a part is an object with `inlineData`; only parts with `text` are supported",
        ),
        (
            {"request": {"contents": [{"parts": [{"text": "x"}]}], "tools": [{"google_search": {}}]}},
            "Gemini Batch format; `tools` is a list of 1 with `google_search`; it is not supported: leave it out",
        ),
        ({"recordId": "q", "modelInput": {"inputText": "x"}}, "Bedrock batch inference format; it has no list"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "ShareGPT format; `conversations[0]` must have"),
    ],
)
def test_lines_of_other_services_with_more_than_text_are_refused_with_the_formats_name(
    cli: Cli, tmp_path: Path, line: dict[str, Any], reason: str
) -> None:
    done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", [line]))
    assert done.returncode == 2
    assert f"this is a line of the {reason}" in done.stderr


def test_the_file_of_errors_gets_every_fault_of_a_refused_file(cli: Cli, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": n, "max_tokens": 0} for n in range(100)])
    errors = tmp_path / "errors.jsonl"
    done = cli("submit", path, "--wait", "-o", tmp_path / "out.jsonl", "--errors", errors)
    assert done.returncode == 2
    assert f"All faults are in {errors}." in done.stderr
    lines = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(1, 101))
    assert all(len(line["errors"]) == 2 for line in lines)
    assert len(done.stderr) < 5000
