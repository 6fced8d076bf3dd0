"""Giving everything back in time when the worker is asked to end."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

STOP_SECONDS = 1.9  # from the request to the end of the process: container runtimes and people do not wait for ever


class OrderlyStop:
    """A thread that sleeps until a stop is requested, then runs the hand-over.

    A signal handler may only do what cannot block, so it wakes this thread, which does the work.

    Args:
        hand_over: Gives back what the worker holds, within the seconds it is given; returns whether it could.
    """

    def __init__(self, hand_over: Callable[[float], bool]) -> None:
        self._hand_over = hand_over
        self._requests: queue.SimpleQueue[float] = queue.SimpleQueue()  # its `put` may be called in a signal handler
        self._over = threading.Event()
        self._requested = False
        self._thread = threading.Thread(target=self._run, name="orderly-stop", daemon=True)

    @property
    def requested(self) -> bool:
        """Whether the worker is to end."""
        return self._requested

    def start(self) -> None:
        """Begin to wait for a request."""
        self._thread.start()

    def request(self) -> None:
        """Begin the hand-over, once. Safe in a signal handler."""
        if not self._requested:
            self._requested = True
            self._requests.put(time.monotonic())

    def finished(self) -> None:
        """The process has come to its end by itself: nothing is forced any more."""
        self._over.set()

    def _run(self) -> None:
        deadline = self._requests.get() + STOP_SECONDS
        log.info("stopping: unfinished shards go back to the queue")
        handed_over = self._hand_over(deadline - time.monotonic())
        if not handed_over:
            log.warning("not everything could be given back in time; other workers take over when the leases expire")
        if self._over.wait(max(0.0, deadline - time.monotonic())):
            return
        # What still runs (a long step of the engine, a closing socket) holds nothing that others need.
        os._exit(0 if handed_over else 1)
