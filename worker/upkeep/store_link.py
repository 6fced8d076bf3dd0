"""Handle a store that does not answer: log it once, wait, try again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from jobs.errors import QwenBatchError, StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

SILENT_SECONDS = 60.0  # after a trouble was logged, the same trouble is not logged again for so long


class Backoff:
    """Delays that double from `first_seconds` to `max_seconds`. Each is shortened at random by up to a half.

    Workers usually lose a server at the same time. The random part keeps them from all returning at the same time.
    """

    def __init__(self, first_seconds: float = 0.1, max_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self._next = first_seconds

    def next_delay(self) -> float:
        """Return the seconds to wait after one more failure."""
        delay = self._next
        self._next = min(delay * 2, self._max)
        return delay * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again at `first_seconds`. Call it after a success."""
        self._next = self._first


class StoreLink:
    """The last known state of the store, shared by all threads of the worker.

    It logs one line when the store stops answering and one when the store is back, for all threads together. If some
    calls fail and others work, the store seems to come and go. The log then has these lines once per `SILENT_SECONDS`.

    Args:
        stopping: Set when the worker stops. Then no call waits any longer.
        clock: Returns monotonic seconds.
    """

    def __init__(self, stopping: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._logged: tuple[str, float] | None = None  # latest trouble in the log, and the clock then
        self._return_is_news = False  # True: the trouble of now is in the log, so that its end belongs there, too

    @property
    def failing(self) -> bool:
        """True if the last call to the store failed."""
        return self._failing_since is not None

    def failed(self, error: QwenBatchError) -> None:
        """Note that a call has failed with `StoreUnavailable` or `StoreFull`."""
        with self._lock:
            if self._failing_since is not None:
                return
            self._failing_since = now = self._clock()
            message, logged_at = self._logged or ("", now)
            self._return_is_news = message != error.message or now - logged_at >= SILENT_SECONDS
            if not self._return_is_news:
                return
            self._logged = (error.message, now)
        log.warning("the store is in trouble, finished lines are held until it is back: %s", error.message)

    def worked(self) -> None:
        """Note that a call has succeeded."""
        with self._lock:
            if self._failing_since is None:
                return
            seconds = self._clock() - self._failing_since
            self._failing_since = None
            if not self._return_is_news:
                return
        log.info("the store is back after %.1f s", seconds)

    def insist(self, call: Callable[[], T]) -> T:
        """Repeat `call`, with growing pauses, until the store answers. Returns the result of `call`.

        When the worker stops, one last try follows. If that fails, it raises `StoreUnavailable` or `StoreFull`.
        """
        backoff = Backoff()
        while True:
            last_try = self._stopping.is_set()
            try:
                answer = call()
            except (StoreUnavailable, StoreFull) as error:
                self.failed(error)
                if last_try:
                    raise
                self._stopping.wait(backoff.next_delay())
            else:
                self.worked()
                return answer
