"""The clerk's child processes: each imports or finishes one batch, so that large files never block the clerk."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import Literal

import msgspec

from jobs import tether
from jobs.batches.agenda import Entry
from server.options import ServeOptions

MAX_CHILDREN = 2  # and one more for a finish, so that results never wait for the imports of many batches
STOP_SECONDS = 5.0
NICENESS = 5  # answers to clients come first; with much more, a busy worker would leave a child hardly any time
MAX_WAIT_SECONDS = 60.0  # between two children for one batch
_log = logging.getLogger("server.clerk")
Work = Literal["import_batch", "finish_batch"]


class Children:
    """Starts and watches child processes. They die with the clerk."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = msgspec.json.encode(options).decode()
        self._running: dict[Entry, subprocess.Popen[bytes]] = {}
        self._failures: Counter[Entry] = Counter()  # since the last success

    def running(self) -> frozenset[Entry]:
        """Return the batches that a child works on."""
        return frozenset(self._running)

    def room(self, work: Work) -> int:
        """Return how many children for this work may still be started."""
        return max(MAX_CHILDREN + (work == "finish_batch") - len(self._running), 0)

    def start(self, work: Work, entry: Entry) -> bool:
        """Start a child for a batch. Returns False if too many are running."""
        if not self.room(work):
            return False
        program = [sys.executable, "-P", "-m", f"server.clerk.{work}", entry.project, entry.id, self._options]
        child = subprocess.Popen(tether.command(program, signal.SIGKILL), stdin=subprocess.DEVNULL)
        os.setpriority(os.PRIO_PROCESS, child.pid, max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS))
        self._running[entry] = child
        return True

    def ended(self) -> list[tuple[Entry, float]]:
        """Return the batches whose child has ended since the last call.

        Each has the seconds to wait before another child: 0 after a success, and more after each failure in a row.
        """
        ended = [(entry, process.returncode) for entry, process in self._running.items() if process.poll() is not None]
        waits: list[tuple[Entry, float]] = []
        for entry, status in ended:
            del self._running[entry]
            if status == 0:
                self._failures.pop(entry, None)
                waits.append((entry, 0.0))
                continue
            waits.append((entry, min(2.0 ** self._failures[entry], MAX_WAIT_SECONDS)))
            self._failures[entry] += 1
            _log.error("the child for %s ended with status %d", entry, status)
        return waits

    def stop(self) -> None:
        """Give the children some seconds to end, then kill them. Another clerk does their work again."""
        for process in self._running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
