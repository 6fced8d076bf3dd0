"""What a worker does about a store that does not answer: say it once, hold on, try again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from jobs.errors import QwenBatchError, StoreFull, StoreUnavailable
from worker.upkeep.backoff import Backoff

log = logging.getLogger(__name__)

T = TypeVar("T")


class StoreLink:
    """What this worker last saw of the store, shared by all of its threads.

    One log line when the store goes away and one when it is back, however many threads notice.

    Args:
        stopping: Set when the worker is to end: nothing is waited for any longer.
        clock: Monotonic seconds.
    """

    def __init__(self, stopping: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._failing_since: float | None = None

    @property
    def failing(self) -> bool:
        """Whether the last that was heard of the store is a failure."""
        return self._failing_since is not None

    def failed(self, error: QwenBatchError) -> None:
        """A call has failed with `StoreUnavailable` or `StoreFull`."""
        with self._lock:
            if self._failing_since is not None:
                return
            self._failing_since = self._clock()
        log.warning("the store is in trouble, finished lines are held until it is back: %s", error.message)

    def worked(self) -> None:
        """A call has come back."""
        with self._lock:
            if self._failing_since is None:
                return
            seconds = self._clock() - self._failing_since
            self._failing_since = None
        log.info("the store is back after %.1f s", seconds)

    def insist(self, call: Callable[[], T]) -> T:
        """Repeat `call`, with growing pauses, until the store answers.

        Once the worker stops there is one more try, which raises `StoreUnavailable` or `StoreFull`.
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
