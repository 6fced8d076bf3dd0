"""State file of the embedded server, for a later `run`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class ServerState(msgspec.Struct, frozen=True):
    """Process and address of the last server that was started in a folder."""

    pid: int
    port: int
    password: str

    @property
    def url(self) -> str:
        """URL of the server, with its password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def write_state(folder: Path, state: ServerState) -> None:
    """Replace the folder's state file. Only its owner can read it."""
    temporary = folder / "server.json.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(state))
    temporary.replace(folder / "server.json")


def read_state(folder: Path) -> ServerState | None:
    """Return the folder's state, or None if it is missing or damaged, for example after a power cut."""
    try:
        return msgspec.json.decode((folder / "server.json").read_bytes(), type=ServerState)
    except (OSError, msgspec.DecodeError):
        return None


def client_of(state: ServerState) -> redis.Redis:
    """Return a client without retries."""
    return redis.Redis(port=state.port, password=state.password, socket_timeout=2, retry=Retry(NoBackoff(), 0))


def answers(state: ServerState) -> bool:
    """Return whether the server is up. It is not while it still reads its data."""
    try:
        with client_of(state) as client:
            return bool(client.ping())
    except redis.ResponseError:  # its disk is full: it answers reads, but refuses PING
        return True
    except redis.RedisError:
        return False


def cannot_save(state: ServerState) -> bool:
    """Return whether the server's last attempt to save its data failed. False if the server does not answer."""
    try:
        with client_of(state) as client:
            return bool(client.info("persistence").get("aof_last_write_status", "ok") != "ok")
    except redis.RedisError:
        return False
