"""A file written for the OpenAI Batch API, and what comes back, read with that service's own types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import BatchError, Completion
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from openai.types.shared import ErrorObject

from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl
from testing.processes.valkey import running_valkey
from tests.end_to_end.deployment import Deployment

TOO_LONG = "word " * 5_000  # the demo model takes 2,048 tokens
QUESTION = [{"role": "user", "content": "What is 37 + 48?"}]


def chat(custom_id: str, **body: Any) -> Any:
    return line(custom_id, "/v1/chat/completions", {"messages": QUESTION, "max_completion_tokens": 16} | body)


def completion(custom_id: str, **body: Any) -> Any:
    return line(custom_id, "/v1/completions", {"prompt": "The capital of France is", "max_tokens": 4} | body)


def line(custom_id: str, url: str, body: dict[str, Any]) -> Any:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "demo"} | body}


LINES = [
    chat("chat-1"),
    completion("text-1", ignore_eos=True),
    chat("too-long-chat", messages=[{"role": "user", "content": TOO_LONG}]),
    chat("refused", modalities=["audio"]),
    completion("ids-1", prompt=[1, 2, 3], temperature=0.8, seed=3, user="someone"),
    completion("too-long-text", prompt=TOO_LONG),
    chat("chat-2", temperature=1.2, top_p=0.9, stop=["\n"], metadata={"any": "thing"}),
    line("response-1", "/v1/responses", {"input": "What is 37 + 48?", "max_output_tokens": 16}),
    line("response-2", "/v1/responses", {"input": QUESTION, "max_output_tokens": 1, "ignore_eos": True}),
]
GOOD = ["chat-1", "text-1", "ids-1", "chat-2", "response-1", "response-2"]
FAILED = {
    "too-long-chat": "context_length_exceeded",
    "refused": "invalid_line",
    "too-long-text": "context_length_exceeded",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """The lines of the results file and of the error file of one `run`."""
    folder = tmp_path_factory.mktemp("openai")
    prompts, output = write_jsonl(folder / "prompts.jsonl", LINES), folder / "results.jsonl"
    done = qwen_batch("run", prompts, "-o", output, "--skip-invalid", "--no-compile", env=environment(folder / "state"))
    assert done.returncode == 1, done.stderr
    assert "3 of 9 lines failed" in done.stderr
    return read_jsonl(output), read_jsonl(folder / "results.errors.jsonl")


def custom_ids(lines: list[Any]) -> list[str]:
    return [line["custom_id"] for line in lines]


def test_every_custom_id_is_once_in_one_of_the_files_and_in_order(files: tuple[list[Any], list[Any]]) -> None:
    results, errors = files
    assert custom_ids(results) == GOOD
    assert custom_ids(errors) == list(FAILED)
    both = [*results, *errors]
    assert len({line["id"] for line in both}) == len(LINES)
    assert {tuple(line) for line in both} == {("id", "custom_id", "response", "error")}


def test_completed_lines_parse_with_openais_types(files: tuple[list[Any], list[Any]]) -> None:
    results, _ = files
    assert [(line["response"]["status_code"], line["error"]) for line in results] == [(200, None)] * len(GOOD)
    bodies = {line["custom_id"]: line["response"]["body"] for line in results}
    answer = ChatCompletion.model_validate(bodies["chat-1"], strict=True)
    assert answer.choices[0].message.content == "85"
    assert (answer.object, answer.model, answer.choices[0].finish_reason) == ("chat.completion", "demo", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    ChatCompletion.model_validate(bodies["chat-2"], strict=True)
    for name in ("text-1", "ids-1"):
        text = Completion.model_validate(bodies[name], strict=True)
        assert text.object == "text_completion"
        assert text.usage is not None
    response = Response.model_validate(bodies["response-1"], strict=True)
    assert (response.output_text, response.status, response.object) == ("85", "completed", "response")
    cut = Response.model_validate(bodies["response-2"], strict=True)
    assert cut.incomplete_details is not None
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    text = Completion.model_validate(bodies["text-1"], strict=True)
    assert (text.choices[0].finish_reason, text.usage and text.usage.completion_tokens) == ("length", 4)


def test_failed_lines_are_failed_requests_in_openais_types(files: tuple[list[Any], list[Any]]) -> None:
    _, errors = files
    assert {line["custom_id"]: line["response"]["body"]["error"]["code"] for line in errors} == FAILED
    assert [(line["response"]["status_code"], line["error"]) for line in errors] == [(400, None)] * len(FAILED)
    for line in errors:
        error = ErrorObject.model_validate(line["response"]["body"]["error"], strict=True)
        assert error.type == "invalid_request_error"
        assert error.message


@pytest.fixture
def without_workers(tmp_path: Path) -> Iterator[Deployment]:
    with running_valkey(tmp_path) as server:
        yield Deployment(server, tmp_path)


def test_lines_that_never_ran_are_batch_errors(without_workers: Deployment, tmp_path: Path) -> None:
    lines = [chat(f"c-{number}") for number in range(20)]
    job_id = without_workers.submit(write_jsonl(tmp_path / "prompts.jsonl", lines))
    assert without_workers("cancel", job_id).returncode == 0
    output, errors = tmp_path / "out.jsonl", tmp_path / "errors.jsonl"
    done = without_workers("results", job_id, "-o", output, "--errors", errors)
    assert (done.returncode, output.read_bytes()) == (0, b""), done.stderr
    failed = read_jsonl(errors)
    assert custom_ids(failed) == custom_ids(lines)
    assert [line["response"] for line in failed] == [None] * 20
    assert {BatchError.model_validate(line["error"], strict=True).code for line in failed} == {"batch_cancelled"}
