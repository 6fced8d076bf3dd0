"""A real worker of the demo model answers through the real service."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, BadRequestError, OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import WorkerUnderTest
from tests.server.conftest import ServeProcess, chat_line, create, lines_of, wait_for

# Bodies that differ in what ends the text, what is held back, and how many texts there are.
BODIES: list[dict[str, Any]] = [
    {"temperature": 0},
    {"seed": 3, "temperature": 1.5, "max_tokens": 40, "ignore_eos": True},
    {"seed": 4, "temperature": 1.5, "max_tokens": 40, "ignore_eos": True, "stop": ["e ", "is", "th"]},
    {"seed": 5, "temperature": 2.0, "max_tokens": 30, "ignore_eos": True, "n": 3},
    {"seed": 6, "temperature": 1.0, "max_tokens": 1},
    {"temperature": 0, "n": 2},
    {"temperature": 0, "chat_template_kwargs": {"enable_thinking": False}},
    {"seed": 7, "temperature": 3.0, "max_tokens": 50, "ignore_eos": True, "stop": ["\N{GRINNING FACE}", "ab", "0 "]},
    {"seed": 8, "max_tokens": 30, "messages": [{"role": "user", "content": "Repeat: \N{GRINNING FACE}\N{SPARKLES} é"}]},
    {"temperature": 0, "structured_outputs": {"choice": ["yes, certainly", "no"]}},
]


def joined(stream: Stream[ChatCompletionChunk]) -> dict[int, str]:
    """The text of each completion of a stream."""
    texts: defaultdict[int, str] = defaultdict(str)
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return dict(texts)


def test_a_stream_has_the_text_of_the_whole_answer_and_of_the_line_of_a_batch(
    client: OpenAI, worker: WorkerUnderTest
) -> None:
    lines = [chat_line(number, **body) for number, body in enumerate(BODIES)]
    batch = wait_for(client, create(client, *lines).id, "completed")
    for line, result in zip(lines, lines_of(client, batch.output_file_id), strict=True):
        body = {key: value for key, value in line["body"].items() if key in ("model", "messages", "seed", "n", "stop")}
        extra = {key: value for key, value in line["body"].items() if key not in body}
        whole = client.chat.completions.create(**body, extra_body=extra)
        expected = {choice["index"]: choice["message"]["content"] for choice in result["response"]["body"]["choices"]}
        assert {choice.index: choice.message.content for choice in whole.choices} == expected
        assert whole.usage is not None
        assert whole.usage.to_dict() == result["response"]["body"]["usage"]
        streamed = client.chat.completions.create(**body, extra_body=extra, stream=True)
        assert joined(streamed) == expected, body


def test_a_streamed_text_completion_is_the_whole_one(client: OpenAI, worker: WorkerUnderTest) -> None:
    body: Any = {"model": "demo", "prompt": ["2 + 3 =", "The capital of"], "max_tokens": 20, "seed": 1}
    whole = client.completions.create(**body)
    texts: defaultdict[int, str] = defaultdict(str)
    for chunk in client.completions.create(**body, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert dict(texts) == {choice.index: choice.text for choice in whole.choices}


def test_a_prompt_that_is_too_long_is_refused_before_a_stream_begins(client: OpenAI, worker: WorkerUnderTest) -> None:
    messages: Any = [{"role": "user", "content": "long " * 3000}]
    for stream in (False, True):
        with pytest.raises(BadRequestError) as raised:
            client.chat.completions.create(model="demo", messages=messages, stream=stream)
        assert raised.value.code == "context_length_exceeded"


def endless(client: OpenAI, model: str, max_tokens: int, stream: bool) -> Any:
    """Ask for a text that goes on until it has so many tokens."""
    messages: Any = [{"role": "user", "content": "Go on."}]
    extra = {"ignore_eos": True}
    return client.chat.completions.create(
        model=model, messages=messages, stream=stream, max_tokens=max_tokens, seed=9, extra_body=extra
    )


def test_a_client_that_leaves_frees_the_engine(client: OpenAI, worker: WorkerUnderTest, store: JobStore) -> None:
    stream = endless(client, "demo", 1500, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    stream.close()
    worker.wait_for_report(store, lambda report: report.running == report.waiting == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_no_token_is_made_for_a_client_that_has_left(
    service: ServeProcess, worker: WorkerUnderTest, store: JobStore, stream: bool
) -> None:
    before = worker.wait_for_report(store, lambda report: report.running == report.waiting == 0).output_tokens
    said = {"model": "demo", "messages": [{"role": "user", "content": "Go on."}], "stream": stream}
    said |= {"n": 16, "max_tokens": 1500, "ignore_eos": True}
    body = json.dumps(said)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    host, _, port = service.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall((head + body).encode())
        worker.wait_for_report(store, lambda report: report.output_tokens > before)
    after = worker.wait_for_report(store, lambda report: report.running == report.waiting == 0)
    assert after.output_tokens - before < 16 * 1500


def worker_with_work(store: JobStore, model: str, workers: list[WorkerUnderTest]) -> WorkerUnderTest:
    """Return the worker that has a request, as soon as one reports so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        running = {report.pid for report in store.fleet.workers() if report.model == model and report.running}
        for worker in workers:
            if worker.pid in running:
                return worker
        time.sleep(0.05)  # workers report once a second
    raise AssertionError("no worker has a request")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_goes_on_with_the_same_text_when_its_worker_ends(
    valkey: ValkeyProcess, store: JobStore, service: ServeProcess, tmp_path: Path, ending: signal.Signals
) -> None:
    name = f"pair-{ending.name.lower()}"
    settings = {"redis_url": valkey.url, "model": "demo", "served_model_name": name, "device": "cpu", "threads": "1"}
    settings["compile"] = "false"
    with ExitStack() as both, service.client(timeout=120) as client:
        workers = [both.enter_context(WorkerUnderTest(settings, tmp_path / f"{place}.log")) for place in range(2)]
        for worker in workers:
            worker.wait_until(store, "idle")
        stream = endless(client, name, 1500, stream=True)
        text = ""
        while len(text) < 20:
            text += next(stream).choices[0].delta.content or ""
        busy = worker_with_work(store, name, workers)
        busy.send(ending)
        text += joined(stream)[0]
        assert busy.exit_code() is not None
        assert endless(client, name, 1500, stream=False).choices[0].message.content == text


@pytest.mark.slow
def test_a_second_worker_of_another_dtype_gives_the_same_text_or_an_error(
    valkey: ValkeyProcess, store: JobStore, service: ServeProcess, tmp_path: Path
) -> None:
    name = "two-dtypes"
    settings = {"redis_url": valkey.url, "model": "demo", "served_model_name": name, "device": "cpu", "threads": "1"}
    settings["compile"] = "false"
    with ExitStack() as both, service.client(timeout=120) as client:
        workers = [
            both.enter_context(WorkerUnderTest(settings | {"dtype": dtype}, tmp_path / f"{dtype}.log"))
            for dtype in ("float32", "bfloat16")
        ]
        for worker in workers:
            worker.wait_until(store, "idle")
        text, code, busy = "", None, None
        try:
            for chunk in endless(client, name, 1500, stream=True):
                text += chunk.choices[0].delta.content or ""
                if busy is None and len(text) >= 20:
                    busy = worker_with_work(store, name, workers)
                    busy.kill()
        except APIError as error:
            code = error.code
        assert busy is not None
        other = endless(client, name, 1500, stream=False).choices[0].message.content
        if code is None:
            assert other == text
        else:
            assert (code, other.startswith(text)) == ("stream_diverged", False)
