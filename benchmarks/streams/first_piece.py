"""Compare the first piece of a streamed chat with the engine's own first token.

    python -m benchmarks.streams.first_piece [--model demo] [--requests 50]

First an engine in this process answers the chats, one at a time. Then a private server, the HTTP service and an idle
worker answer them. Each prompt is a new one, so that no cache helps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.http_load.service import connection_to, percentiles, serving
from engine.config import EngineConfig
from engine.load import load_engine
from engine.request import Request
from jobs.records.model_card import builtin_demo_folder
from jobs.records.sampling import SamplingParams
from jobs.records.served_name import served_name
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

MAX_TOKENS = 16
WARM = 5  # chats before the ones that count


def chats(number: int) -> Iterator[list[dict[str, str]]]:
    """Yield the messages of so many chats, and of some that do not count."""
    for place in range(WARM + number):
        yield [{"role": "user", "content": f"{place} times: what is {place % 97} + {place % 89}?"}]


def engine_seconds(folder: Path, number: int) -> list[float]:
    """Return the seconds from each request to its first token, without the conversion of text into tokens."""
    loaded, seconds = load_engine(folder, EngineConfig(), log=lambda _: None), []
    for messages in chats(number):
        ids = loaded.tokenizer.encode_messages(messages, enable_thinking=False)
        output = loaded.engine.submit(Request(tuple(ids), SamplingParams(max_tokens=MAX_TOKENS))).future.result()
        seconds.append(output.first_token_at - output.arrived_at)
    loaded.engine.shutdown()
    return seconds[WARM:]


def service_seconds(model: str, number: int) -> list[float]:
    """Return the seconds from each HTTP request to the first piece that has text."""
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        settings = {"redis_url": valkey.url, "model": model, "device": "cpu"}
        with serving(valkey, Path(name)) as service, WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(service.store, "idle")
            connection = connection_to(service)
            return [_first_piece(connection, served_name(model), messages) for messages in chats(number)][WARM:]


def _first_piece(connection: HTTPConnection, model: str, messages: list[dict[str, str]]) -> float:
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "stream": True}
    body["chat_template_kwargs"] = {"enable_thinking": False}
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    while not _has_text(line := answer.readline()):
        if not line:
            raise RuntimeError("the stream has no text")
    seconds = time.perf_counter() - began
    answer.read()
    return seconds


def _has_text(line: bytes) -> bool:
    if not line.startswith(b"data: {"):
        return False
    return any(choice["delta"].get("content") for choice in json.loads(line.removeprefix(b"data: "))["choices"])


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--requests", type=int, default=50)
    said = parser.parse_args()
    folder = builtin_demo_folder() if said.model == "demo" else Path(said.model)
    print(f"the engine's first token: {percentiles(engine_seconds(folder, said.requests))}")
    print(f"the first piece over HTTP: {percentiles(service_seconds(said.model, said.requests))}")


if __name__ == "__main__":
    main()
