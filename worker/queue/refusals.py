"""Messages on the queue that were refused: counted, and not allowed to flood the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0  # at most one line in so long


class Refusals:
    """Thread-safe.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._quiet_until: float | None = None

    @property
    def count(self) -> int:
        """How many there were."""
        return self._count

    def add(self, why: str) -> None:
        """One more. `why` must hold nothing of the message itself."""
        with self._lock:
            self._count += 1
            now = self._clock()
            if self._quiet_until is not None and now < self._quiet_until:
                return
            self._quiet_until = now + LOG_SECONDS
        log.warning("refused a message on the queue (%d so far): %s", self._count, why)
