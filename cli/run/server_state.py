"""State file of the embedded server. A later `run` ends the server that a killed `run` has left."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import StoreUnavailable

ORPHAN_STOP_SECONDS = 30.0


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
    """Return whether the server answers. A server that is still reading its data does not count as up."""
    try:
        with client_of(state) as client:
            return bool(client.ping())
    except redis.ResponseError:  # a server with a full disk answers reads, but refuses PING
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


def stop_orphan(folder: Path) -> None:
    """Wait until no server uses this folder any more. Two servers on the same data would damage it.

    Usually the kernel has already ended the server together with its `run`. Then this function only waits while the
    server writes its last data.

    Raises:
        StoreUnavailable: The server does not end within `ORPHAN_STOP_SECONDS`.
    """
    state = read_state(folder)
    if state is None:
        return
    deadline = time.monotonic() + ORPHAN_STOP_SECONDS
    while _alive(state.pid) and _listens(state.port):
        if not _ask_to_stop(state):
            return
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"The server of an earlier run (process {state.pid}) does not stop.",
                "End that process, or name another folder with --state-dir.",
            )
        time.sleep(0.05)


def _ask_to_stop(state: ServerState) -> bool:
    """Ask the server to stop. Returns False if another program has the port now."""
    try:
        with client_of(state) as client:
            client.ping()  # redis-py's `shutdown` counts every failure as success
            client.shutdown()
    except redis.AuthenticationError:
        return False
    except redis.RedisError:
        return True  # busy reading or writing its data, or gone
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # no such process, or another user's
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
