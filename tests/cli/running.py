"""Helpers for tests that run the command `run` with its own server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.run.server_state import ServerState, answers, read_state
from jobs.errors import StoreUnavailable
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore

PATIENCE_SECONDS = 120


def run_of(folder: Path, model: Path, num_lines: int, max_tokens: int) -> list[str | Path]:
    """Lines of different lengths, so that they end one after the other and not all at once."""
    path = folder / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_lines):
            length = max(1, max_tokens * (number + 1) // num_lines)
            file.write(f'{{"id": "q-{number}", "prompt": "What is {number}?", "max_tokens": {length}}}\n')
    options: list[str | Path] = [
        "--model",
        model,
        "--no-compile",
        "--threads",
        "1",
        "--ignore-eos",
    ]
    return ["run", path, "-o", "out.jsonl", *options]


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def embedded(tmp_path: Path) -> Iterator[tuple[ServerState, JobStore]]:
    """The server that a starting `run` brings along, and its store with one job in it."""
    runs = tmp_path / "home" / "state" / "qwen-batch" / "runs"

    def state() -> ServerState | None:
        return next(filter(None, (read_state(folder / "server") for folder in runs.glob("*"))), None)

    def has_a_job() -> bool:
        found = state()
        if found is None or not answers(found):
            return False
        with suppress(StoreUnavailable):  # a run starts its server again if another program took the port
            return bool(connect(found.url).jobs.newest())
        return False

    until(has_a_job)
    found = state()
    assert found is not None
    yield found, connect(found.url)


def ids_of(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]
