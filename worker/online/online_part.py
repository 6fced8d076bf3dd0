"""The part of a worker that serves interactive requests beside the lines of batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jobs.errors import InvalidInput, StoreFull, StoreUnavailable
from jobs.online.messages import Gone
from jobs.online.online_store import OnlineStore
from jobs.records.completion import Completion, ErrorCode
from worker.online.online_intake import LATE, OnlineIntake
from worker.online.online_run import OnlineRun, OnlineRuns
from worker.online.reply_sender import Closed, ReplySender, ended
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5  # time between two looks at deadlines and at the servers that wait
TRUST_SECONDS = 3.0  # after an outage of the store, servers get this time to report again
STOP_SECONDS = 0.8  # max time for telling the servers that this worker stops


def max_sequences(share: float, max_num_seqs: int) -> int:
    """Return how many sequences of interactive requests a worker runs together. Raises `InvalidInput`.

    Args:
        share: Share of the batch, above 0 and at most 1.
        max_num_seqs: Max sequences of the batch.
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"`online_share` is {share:g}; it must be above 0 and at most 1.")
    return max(1, int(share * max_num_seqs))


class StoreClock:
    """The time by the store's clock, without a call per reading.

    Args:
        store: Tells its time.
    """

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self._ahead = 0.0  # seconds by which the store's clock is ahead of this machine's

    def set(self) -> None:
        """Compare the clocks. Raises `StoreUnavailable`."""
        self._ahead = self._store.now() - time.time()

    def __call__(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self._ahead


@dataclass(frozen=True)
class OnlineFigures:
    """Numbers for the worker's metrics."""

    running: int = 0  # requests that this worker runs
    waiting: int = 0  # requests of the model that no worker has taken


@dataclass
class OnlinePart:
    """Owns the threads that serve interactive requests. None of their errors reaches the lines of batches."""

    store: OnlineStore
    model: str
    worker_id: str
    runs: OnlineRuns
    sender: ReplySender
    intake: OnlineIntake
    clock: StoreClock
    link: StoreLink
    stopping: threading.Event  # set when no more requests are taken
    monotonic: Callable[[], float] = time.monotonic
    _waiting: int = 0
    _trusted_from: float = field(default=0.0)  # monotonic time from which a missing report means a dead server
    _threads: tuple[Periodic, ...] = ()

    def start(self) -> None:
        """Start to take requests. When this returns, servers know that they can send them."""
        self._threads = (
            Periodic("online-intake", self.intake.take, 0.0),
            Periodic("online-watch", self.watch, WATCH_SECONDS),
        )
        self.sender.start()
        self.watch()
        for thread in self._threads:
            thread.start()

    def figures(self) -> OnlineFigures:
        """Return numbers for the worker's metrics."""
        return OnlineFigures(len(self.runs.all()), self._waiting)

    def watch(self) -> None:
        """Report this worker, and end the requests that are late or whose servers are gone."""
        for run in self.runs.all():
            if self.clock() > run.request.deadline_at:
                self._expire(run)
        try:
            self.store.report_worker(self.model, self.worker_id)
            self.clock.set()
            self._waiting = self.store.waiting(self.model)
            alive = self.store.live_servers({run.request.server for run in self.runs.all()})
        except (StoreUnavailable, StoreFull) as error:
            self.link.failed(error)
            self._trusted_from = self.monotonic() + TRUST_SECONDS
            return
        self.link.worked()
        if self.monotonic() >= self._trusted_from:
            for run in self.runs.all():
                if run.request.server not in alive:
                    log.info("request %s is dropped: its server is gone", run.request.id)
                    self.sender.put(Closed(run, None))

    def _expire(self, run: OnlineRun) -> None:
        late = Completion.failed_prompt(run.request.prompt, ErrorCode.EXPIRED, LATE)
        self.sender.put(Closed(run, ended(run, late)))

    def drain(self) -> None:
        """Take no more requests, and wait until those that run are finished."""
        self.take_no_more()
        self.runs.wait_until_idle()

    def take_no_more(self) -> None:
        """Take no more requests. A request that comes at the same moment is given to another worker."""
        self.stopping.set()
        self._unless_down(lambda: self.store.abort(self.model, self.worker_id, ""))  # wakes the intake's call

    def hand_over(self) -> None:
        """Tell the servers to give the remaining requests to other workers, and end the threads."""
        until = self.monotonic() + STOP_SECONDS
        self.take_no_more()
        for thread in self._threads:
            thread.stop(timeout_seconds=STOP_SECONDS / 4)
        for run in self.runs.all():
            self.sender.put(Closed(run, Gone(run.request.id, run.request.attempt)))
        self._unless_down(lambda: self.store.forget_worker(self.model, self.worker_id))
        self.sender.stop(max(0.1, until - self.monotonic()))

    def _unless_down(self, call: Callable[[], None]) -> None:
        """Call the store, unless it has not answered lately: a worker that stops has little time."""
        if self.link.failing:
            return
        try:
            call()
        except (StoreUnavailable, StoreFull) as error:
            self.link.failed(error)
