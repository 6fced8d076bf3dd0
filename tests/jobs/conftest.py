"""A real server for the tests of the store and the queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobs.stores.connect import redis_client
from testing.processes.valkey import ValkeyProcess, running_valkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """One real server for all of these tests."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    """A client of the emptied server."""
    with redis_client(valkey.url) as client:
        client.flushall()
        yield client


def note_commands(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note from now on what each call sends to a server in one piece. Returns the notes."""
    sent: list[Any] = []
    send = redis.Connection.send_packed_command

    def noted(self: redis.Connection, command: Any, check_health: bool = True) -> None:
        sent.append(command)
        send(self, command, check_health)

    monkeypatch.setattr(redis.Connection, "send_packed_command", noted)
    return sent
