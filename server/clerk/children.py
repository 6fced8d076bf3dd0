"""The clerk's child processes: each imports or finishes one batch, so that large files never block the clerk."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Literal

import msgspec

from jobs import tether
from jobs.batches.agenda import Entry
from server.options import ServeOptions

MAX_CHILDREN = 2
STOP_SECONDS = 5.0
Work = Literal["import_batch", "finish_batch"]


class Children:
    """Starts and watches child processes. They die with the clerk."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = msgspec.json.encode(options).decode()
        self._running: dict[Entry, subprocess.Popen[bytes]] = {}

    def running(self) -> frozenset[Entry]:
        """Return the batches that a child works on."""
        return frozenset(self._running)

    def start(self, work: Work, entry: Entry) -> bool:
        """Start a child for a batch. Returns False if too many are running."""
        if len(self._running) >= MAX_CHILDREN:
            return False
        program = [sys.executable, "-P", "-m", f"server.clerk.{work}", entry.project, entry.id, self._options]
        self._running[entry] = subprocess.Popen(tether.command(program, signal.SIGKILL), stdin=subprocess.DEVNULL)
        return True

    def ended(self) -> list[Entry]:
        """Return the batches whose child has ended since the last call."""
        ended = [entry for entry, process in self._running.items() if process.poll() is not None]
        for entry in ended:
            del self._running[entry]
        return ended

    def stop(self) -> None:
        """Give the children some seconds to end, then kill them. Another clerk does their work again."""
        for process in self._running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
