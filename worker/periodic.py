"""A thread that does one thing again and again."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Periodic:
    """Calls `action` every `interval_seconds` on a thread of its own, from `start` to `stop`.

    An error in `action` is logged with its traceback and the thread goes on: a worker whose heartbeat has died
    silently would lose its leases for ever.

    Args:
        name: The thread's name.
        action: What to do; it runs once at once.
        interval_seconds: The pause between two calls.
        jitter: Each pause is longer or shorter by up to this share of it, so that workers started together part.
    """

    def __init__(self, name: str, action: Callable[[], None], interval_seconds: float, jitter: float = 0.0) -> None:
        self._action = action
        self._interval = interval_seconds
        self._jitter = jitter
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float = 0.2) -> None:
        """Ask for the end and wait for it, but not for ever: `action` may hang in a network call."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                self._action()
            except Exception:
                log.exception("%s: unexpected error, going on", self._thread.name)
            if self._stopped.wait(self._interval * random.uniform(1 - self._jitter, 1 + self._jitter)):
                return
