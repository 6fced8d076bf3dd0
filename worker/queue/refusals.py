"""Count the refused messages of the queue, and log them without flooding the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0  # min time between two log lines


class Refusals:
    """Counter of refused messages. Thread-safe.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._quiet_until: float | None = None

    @property
    def count(self) -> int:
        """Number of refused messages since the worker's start."""
        return self._count

    def add(self, why: str) -> None:
        """Count a refused message. `why` goes to the log, so it must contain no part of the message."""
        with self._lock:
            self._count += 1
            now = self._clock()
            if self._quiet_until is not None and now < self._quiet_until:
                return
            self._quiet_until = now + LOG_SECONDS
        log.warning("refused a message on the queue (%d so far): %s", self._count, why)
