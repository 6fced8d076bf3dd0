"""Somebody who looks at the store all the time, as `status`, `watch` and `workers` do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from jobs.errors import StoreUnavailable
from jobs.records.job import Job
from jobs.stores.connect import connect

LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class View:
    """What was seen at one moment."""

    at: float  # monotonic seconds
    states: dict[int, str]  # process id -> state of the worker
    job: Job


class Onlooker:
    """Looks while the `with` block lasts; a store that does not answer shows nothing, which is not wrong.

    Args:
        redis_url: The server.
        job_id: A job that is there.
    """

    def __init__(self, redis_url: str, job_id: str) -> None:
        self._store = connect(redis_url, reply_timeout_seconds=1.0, retries=0)
        self._job_id = job_id
        self._views: list[View] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for(self, seen: Callable[[View], bool], timeout_seconds: float = 60) -> None:
        """Return when something has been seen."""
        deadline = time.monotonic() + timeout_seconds
        while not (self._views and seen(self._views[-1])):
            assert time.monotonic() < deadline, self._views[-1:]
            time.sleep(LOOK_SECONDS)

    def seconds_wrong(self, since: float, is_wrong: Callable[[View], bool]) -> float:
        """For how long, at the most and without a break, something wrong was seen since a moment."""
        longest, began = 0.0, None
        for view in [view for view in self._views if view.at >= since]:
            began = None if not is_wrong(view) else began if began is not None else view.at
            longest = max(longest, view.at - began if began is not None else 0.0)
        return longest

    def counts_never_fell(self) -> bool:
        """Whether no look at the job saw fewer results than one before it."""
        counts = [view.job.done for view in self._views]
        return counts == sorted(counts)

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                reports = self._store.fleet.workers() + self._store.fleet.lost_workers()
                view = View(
                    time.monotonic(), {one.pid: one.state for one in reports}, self._store.jobs.get(self._job_id)
                )
            except StoreUnavailable:
                continue
            self._views.append(view)
