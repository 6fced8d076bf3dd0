"""Give the worker's shards back, and end its process in time, when it must stop."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

STOP_SECONDS = 1.9  # max time from the request to the process's end: users and container runtimes do not wait long


class OrderlyStop:
    """Runs the hand-over once, on its own thread, and makes sure that the process ends in time.

    A signal handler must not block, so it only wakes the thread that does the work.

    Args:
        hand_over: Gives back the worker's shards.
        drain: Waits, without a time limit, until the worker's shards are finished. None to give them back unfinished.
    """

    def __init__(self, hand_over: Callable[[], None], drain: Callable[[], None] | None = None) -> None:
        self._hand_over = hand_over
        self._drain = drain
        self._requests: queue.SimpleQueue[float] = queue.SimpleQueue()  # its `put` may be called in a signal handler
        self._handed_over = threading.Event()
        self._over = threading.Event()
        self._requested = False

    def start(self) -> None:
        """Start to wait for a request."""
        threading.Thread(target=self._wait_for_request, name="orderly-stop", daemon=True).start()

    def request(self) -> None:
        """Request the stop. Later calls do nothing. Safe in a signal handler."""
        if not self._requested:
            self._requested = True
            self._requests.put(time.monotonic())

    def wait_until_handed_over(self) -> None:
        """Wait until everything is given back. If that takes too long, the process ends during this call."""
        self._handed_over.wait()

    def finished(self) -> None:
        """Cancel the forced end, because the process ends by itself."""
        self._over.set()

    def _wait_for_request(self) -> None:
        requested_at = self._requests.get()
        if self._drain is not None:
            log.info("draining: finishing the current shards first")
            self._drain()
            requested_at = time.monotonic()
        deadline = requested_at + STOP_SECONDS
        threading.Thread(target=self._run, name="hand-over", daemon=True).start()
        if self._over.wait(max(0.0, deadline - time.monotonic())):
            return
        if self._handed_over.is_set():
            os._exit(0)  # nothing important is left: only a long engine step or a closing socket
        log.warning("some shards could not be given back in time; other workers take them over when the leases expire")
        os._exit(1)

    def _run(self) -> None:
        log.info("stopping: unfinished shards go back to the queue")
        self._hand_over()
        self._handed_over.set()
