"""One server for the tests of the Python door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import qwen_batch
from testing.processes.valkey import ValkeyProcess, running_valkey


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with running_valkey(tmp_path_factory.mktemp("door-server")) as process:
        yield process


@pytest.fixture
def client(server: ValkeyProcess) -> qwen_batch.Client:
    """A client of the server, which is empty."""
    with server.client() as plain:
        plain.flushall()
    return qwen_batch.connect(server.url)
