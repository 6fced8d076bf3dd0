"""A thread that repeats an action."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0  # min time between two log lines for the same error


class Periodic:
    """Calls `action` again and again on its own thread, from `start` to `stop`.

    An error in `action` is logged with its traceback, and the thread continues. Otherwise a worker whose heartbeat has
    died would lose all its leases. A repeated error is logged once per minute.

    Args:
        name: The thread's name.
        action: The action. The first call is immediate.
        interval_seconds: Pause between two calls.
        jitter: Each pause changes at random by up to this share, so that workers that started together drift apart.
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
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 0.2) -> None:
        """Stop the thread, and wait up to `timeout_seconds`: `action` may hang in a network call."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                self._action()
            except Exception as error:
                if self._is_worth_a_line(error):
                    log.exception("%s: unexpected error; the thread continues", self._thread.name)
            if self._stopped.wait(self._interval * random.uniform(1 - self._jitter, 1 + self._jitter)):
                return

    def _is_worth_a_line(self, error: Exception) -> bool:
        """Return whether an error differs from the last one, or was last logged a minute ago."""
        text, now = repr(error), time.monotonic()
        if text == self._last_error and now - self._logged_at < QUIET_SECONDS:
            return False
        self._last_error, self._logged_at = text, now
        return True
