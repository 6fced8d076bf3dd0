"""Ends the embedded server of a `run` that was killed: two servers on the same data would damage it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import redis

from cli.run.server_state import ServerState, client_of, read_state
from jobs.errors import StoreUnavailable

STOP_SECONDS = 30.0


def stop_orphan(folder: Path) -> None:
    """Wait until no server uses this folder any more.

    Usually the kernel has already ended the server together with its `run`. Then this function only waits while the
    server writes its last data.

    Raises:
        StoreUnavailable: The server does not end within `STOP_SECONDS`.
    """
    state = read_state(folder)
    if state is None:
        return
    deadline = time.monotonic() + STOP_SECONDS
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
            client.ping()  # `shutdown` takes every failure for success
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
