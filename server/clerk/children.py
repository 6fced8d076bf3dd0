"""The clerk's child processes: they import and finish batches, so that large files never block the clerk."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Literal

import msgspec

from jobs import tether
from jobs.batches.agenda import Entry
from server.options import ServeOptions

MAX_CHILDREN = 2  # and one more for a finish, so that results never wait for the imports of many batches
STOP_SECONDS = 5.0
IDLE_SECONDS = 10.0  # for which a child waits for the next batch; the start of one takes 0.7 s of a processor
NICENESS = 5  # answers to clients come first; with much more, a busy worker would leave a child hardly any time
MAX_WAIT_SECONDS = 60.0  # between two tries to handle one batch
_log = logging.getLogger("server.clerk")
Work = Literal["import_batch", "finish_batch"]
DONE = b"."  # what a child writes after each batch


class _Child:
    """One child process. It handles one batch at a time."""

    def __init__(self, options: str) -> None:
        program = [sys.executable, "-P", "-m", "server.clerk.child", options]
        self.process = subprocess.Popen(
            tether.command(program, signal.SIGKILL), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        os.setpriority(os.PRIO_PROCESS, self.process.pid, max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS))
        assert self.process.stdin is not None and self.process.stdout is not None
        self._orders, self._reports = self.process.stdin, self.process.stdout
        self.free_since = 0.0

    def fileno(self) -> int:
        """Return the descriptor that can be read when the child has done its work or has died."""
        return self._reports.fileno()

    def order(self, work: Work, entry: Entry) -> None:
        """Have a batch handled. A child that has died meanwhile reports so."""
        with suppress(BrokenPipeError):
            self._orders.write(f"{work} {entry}\n".encode())

    def succeeded(self) -> bool:
        """Return whether the work was done, and not the process ended instead. Waits for one of both."""
        return self._reports.read(1) == DONE

    def end(self, seconds: float = 0.0) -> int:
        """Give the child no more orders, and some seconds to end, then kill it. Returns its exit status."""
        self._orders.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reports.close()
        return self.process.wait()


class Children:
    """Starts and watches child processes. They die with the clerk."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = msgspec.json.encode(options).decode()
        self._busy: dict[Entry, _Child] = {}
        self._free: list[_Child] = []
        self._failures: Counter[Entry] = Counter()  # since the last success

    def running(self) -> frozenset[Entry]:
        """Return the batches that a child works on."""
        return frozenset(self._busy)

    def room(self, work: Work) -> int:
        """Return how many more batches can be handled for this work now."""
        return max(MAX_CHILDREN + (work == "finish_batch") - len(self._busy), 0)

    def start(self, work: Work, entry: Entry) -> bool:
        """Have a child handle a batch. Returns False if too many are busy."""
        if not self.room(work):
            return False
        child = self._free.pop() if self._free else _Child(self._options)
        child.order(work, entry)
        self._busy[entry] = child
        return True

    def wait(self, seconds: float) -> None:
        """Wait until a child has done its work or has died, but at most some seconds."""
        select.select(self._busy.values(), [], [], seconds)

    def ended(self) -> list[tuple[Entry, float]]:
        """Return the batches that were handled, or whose child died, since the last call.

        Each has the seconds to wait before another try: 0 after a success, and more after each failure in a row.
        """
        now = time.monotonic()
        while self._free and now - self._free[0].free_since > IDLE_SECONDS:
            self._free.pop(0).end()
        reported, _, _ = select.select(self._busy.values(), [], [], 0.0)
        ended = [(entry, child) for entry, child in self._busy.items() if child in reported]
        waits: list[tuple[Entry, float]] = []
        for entry, child in ended:
            del self._busy[entry]
            if child.succeeded():
                child.free_since = now
                self._free.append(child)
                self._failures.pop(entry, None)
                waits.append((entry, 0.0))
                continue
            waits.append((entry, min(2.0 ** self._failures[entry], MAX_WAIT_SECONDS)))
            self._failures[entry] += 1
            _log.error("the child for %s ended with status %d", entry, child.end(STOP_SECONDS))
        return waits

    def stop(self) -> None:
        """Give the children some seconds to end, then kill them. Another clerk does their work again."""
        for child in self._free:
            child.end()
        for child in self._busy.values():
            child.end(STOP_SECONDS)
