"""A thread that does one thing again and again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0  # between two logs of the same error


class Periodic:
    """Calls `action` every `interval_seconds` on a thread of its own, from `start` to `stop`.

    An error in `action` is logged with its traceback, and the thread goes on: a worker whose heartbeat has died
    silently would lose its leases for ever. The same error again is logged once a minute.

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
        self._last_error = ""
        self._logged_at = 0.0  # by the monotonic clock

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
            except Exception as error:
                if self._is_worth_a_line(error):
                    log.exception("%s: unexpected error, going on", self._thread.name)
            if self._stopped.wait(self._interval * random.uniform(1 - self._jitter, 1 + self._jitter)):
                return

    def _is_worth_a_line(self, error: Exception) -> bool:
        """Whether an error is another one than the last, or its last log is a minute old."""
        text, now = repr(error), time.monotonic()
        if text == self._last_error and now - self._logged_at < QUIET_SECONDS:
            return False
        self._last_error, self._logged_at = text, now
        return True
