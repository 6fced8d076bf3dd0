"""The real service in processes of its own, with a real store, a real worker and OpenAI's client."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types import Batch

from jobs.records.model_card import ModelCard
from jobs.settings import PREFIX
from jobs.stores.protocol import JobStore
from testing.processes.quick_interpreter import quick_interpreter
from testing.processes.valkey import ValkeyProcess, running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

REPOSITORY = Path(__file__).resolve().parents[2]
ENDS = ("completed", "failed", "expired", "cancelled")


class ServeProcess:
    """`qwen-batch serve` on a free port. Killed with its children at the end of the block, if it still runs.

    Its processes are forks of warm ones, unless another `interpreter` is named. Forks are not its children.
    """

    def __init__(
        self,
        valkey: ValkeyProcess,
        folder: Path,
        *words: str,
        files: Path | None = None,
        interpreter: str | None = None,
        **settings: str,
    ) -> None:
        self._log = folder / "serve.log"
        self.files = files or folder / "files"  # all services of one store share it
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        settings = {"redis_url": valkey.url, "state_dir": str(folder / "state")} | settings
        own = {PREFIX + name.upper(): value for name, value in settings.items()}
        command = [
            interpreter or quick_interpreter(),
            "-P",
            "-m",
            "cli.main",
            "serve",
            "--port",
            "0",
            "--files",
            str(self.files),
            *words,
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=inherited | own, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> ServeProcess:
        self.address = self._wait_for_address()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Serving (http\S+)/v1", self.log)):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)  # nobody tells when a file grows
        return found[1]

    def client(self, api_key: str = "none", **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.address}/v1", api_key=api_key, **({"max_retries": 0, "timeout": 60} | options))


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """One real server for all of these tests."""
    with running_valkey(tmp_path_factory.mktemp("serve-valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def store(valkey: ValkeyProcess) -> Iterator[JobStore]:
    with valkey.store() as store:
        yield store


@pytest.fixture(scope="session")
def service(valkey: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One service for all tests that do not stop it."""
    with ServeProcess(valkey, tmp_path_factory.mktemp("serve")) as service:
        yield service


@pytest.fixture(scope="session")
def sleepy(store: JobStore) -> str:
    """A model that has been served, and that no worker serves now: its batches stay in progress."""
    store.fleet.publish_model(ModelCard("sleepy", vocab_size=1000, max_model_len=2048, has_chat_template=True))
    return "sleepy"


@pytest.fixture(scope="session")
def worker(
    valkey: ValkeyProcess, store: JobStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerUnderTest]:
    """One worker with the demo model, which is ready."""
    settings = {"redis_url": valkey.url, "model": "demo", "device": "cpu", "threads": "1", "compile": "false"}
    settings |= {"flush_seconds": "0.1", "sweep_seconds": "0.2"}
    with WorkerUnderTest(settings, tmp_path_factory.mktemp("worker") / "worker.log") as worker:
        worker.wait_until(store, "idle")
        yield worker


@pytest.fixture(scope="session")
def client(service: ServeProcess) -> Iterator[OpenAI]:
    """OpenAI's client, which reports each error at once."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def http(service: ServeProcess) -> Iterator[httpx.Client]:
    """A plain client, for what OpenAI's client never sends."""
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client


def chat_line(number: int, content: str | None = None, **body: Any) -> dict[str, Any]:
    """One line of a batch file."""
    messages = [{"role": "user", "content": content or f"What is {number} + 3?"}]
    said = {"model": "demo", "messages": messages, "max_tokens": 16} | body
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": said}


def jsonl(*lines: Any) -> bytes:
    """The bytes of a file."""
    return "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines).encode()


def upload(client: OpenAI, content: bytes, name: str = "in.jsonl") -> str:
    """Upload a file, and return its id."""
    return client.files.create(file=(name, content), purpose="batch").id


def create(client: OpenAI, *lines: Any, window: Any = "24h", **more: Any) -> Batch:
    """Upload lines and create a batch of them."""
    return client.batches.create(
        input_file_id=upload(client, jsonl(*lines)),
        endpoint=more.pop("endpoint", "/v1/chat/completions"),
        completion_window=window,
        **more,
    )


def wait_for(client: OpenAI, batch_id: str, *statuses: str) -> Batch:
    """Poll a batch, as clients do, until it has one of these statuses."""
    deadline = time.monotonic() + 120
    while (batch := client.batches.retrieve(batch_id)).status not in (statuses or ENDS):
        assert time.monotonic() < deadline, batch
        assert batch.status not in ENDS, batch
        time.sleep(0.05)  # the API has no way to tell
    return batch


def lines_of(client: OpenAI, file_id: str | None) -> list[Any]:
    """The objects in an output file."""
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
