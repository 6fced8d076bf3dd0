"""Looks after the interactive requests of one HTTP process twice per second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from jobs.errors import StoreFull, StoreUnavailable
from jobs.online.messages import OnlineRequest
from jobs.online.online_store import SERVER_SECONDS, OnlineServerSide
from jobs.stores.worker_facets import Fleet
from server.in_threads import InThreads
from server.online import line_errors
from server.online.desk import OnlineDesk
from server.online.under_way import UnderWay

_PERIOD_SECONDS = 0.5
_TAKING_SECONDS = 10.0  # a request that has left the list, and that nobody says to have, is lost after this time
_NO_WORKER_SECONDS = 30.0  # time to wait for a first worker after the last one died
_GRACE_SECONDS = 5.0  # after the deadline, for the worker's own word about it
_FORGET_SECONDS = 60.0  # a closed request that no worker has taken is forgotten after this time


@dataclass(frozen=True)
class _Seen:
    """Findings of one look into the store."""

    store_ahead: float  # seconds by which the store's clock is ahead of this machine's
    live: dict[str, frozenset[str]]  # by model: workers that take requests
    alive: frozenset[str]  # workers that report, among those that take no requests
    vanished: frozenset[str] = field(default=frozenset())  # ids of requests that have left the list


class Upkeep:
    """Finds requests whose worker has died, that got lost, or that have waited too long.

    Args:
        desk: Has the requests.
        store: What workers read and answer through.
        fleet: The reports of workers.
        threads: Run the calls of the store.
    """

    def __init__(self, desk: OnlineDesk, store: OnlineServerSide, fleet: Fleet, threads: InThreads) -> None:
        self._desk = desk
        self._store = store
        self._fleet = fleet
        self._threads = threads
        self._reported_at = desk.clock()
        self._served_at: dict[str, float] = {}  # model -> when it was last seen to have a worker

    async def run(self) -> None:
        """Look after the requests until this task is cancelled. A store in trouble only delays the next look."""
        while True:
            with suppress(StoreUnavailable, StoreFull):
                await self.look()
            self.end_late_ones()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def end_all(self, draining: asyncio.Event, seconds: float) -> None:
        """Wait until the process is asked to stop, and so many seconds more. Then end all requests."""
        await draining.wait()
        await asyncio.sleep(seconds)
        for under_way in self._desk.requests:
            under_way.fail(line_errors.shutting_down())

    async def look(self) -> None:
        """Report this process as alive, and repeat the requests that were lost. Raises errors of the store."""
        now = self._desk.clock()
        requests = self._desk.requests
        attempts = {each.request.id: each.request.attempt for each in requests}
        taken = {each.worker for each in requests if each.worker is not None}
        missed = [each.request for each in requests if _is_missed(each, now)]
        models = sorted({each.request.model for each in requests})
        seen = await self._threads.run(self._see, models, taken, missed)
        was_silent = now - self._reported_at > SERVER_SECONDS
        self._reported_at = now
        self._desk.store_ahead = seen.store_ahead
        for each in requests:
            if attempts[each.request.id] == each.request.attempt:
                self._judge(each, seen, was_silent)

    def _see(self, models: Sequence[str], taken: set[str], missed: Sequence[OnlineRequest]) -> _Seen:
        store_ahead = self._store.report_server(self._desk.server) - time.time()
        live = {model: frozenset(self._store.live_workers(model)) for model in models}
        silent = taken.difference(*live.values())
        alive = frozenset(report.worker_id for report in self._fleet.workers()) if silent else frozenset()
        vanished = frozenset(request.id for request in missed if not self._store.is_waiting(request))
        return _Seen(store_ahead, live, alive, vanished)

    def _judge(self, under_way: UnderWay, seen: _Seen, was_silent: bool) -> None:
        """Repeat a request if it was lost.

        Args:
            under_way: The request.
            seen: What the look has found.
            was_silent: True if workers may have dropped the requests of this process, because it did not report.
        """
        live = seen.live[under_way.request.model]
        worker, now = under_way.worker, self._desk.clock()
        if under_way.client_left:
            if now - under_way.attempted_at > _FORGET_SECONDS:
                self._desk.forget(under_way)
        elif worker is not None:
            if worker not in live and worker not in seen.alive:
                self._desk.repeat(under_way, worker_died=True)
            elif was_silent:
                self._desk.repeat(under_way)
        elif under_way.request.id in seen.vanished:
            self._desk.repeat(under_way, worker_died=True)
        self._note_workers(under_way, bool(live), now)

    def _note_workers(self, under_way: UnderWay, has_workers: bool, now: float) -> None:
        """End a request that waits for a model without workers for too long."""
        model = under_way.request.model
        if has_workers:
            self._served_at[model] = now
        elif under_way.worker is None:
            since = max(self._served_at.get(model, 0.0), under_way.attempted_at)
            if now - since > _NO_WORKER_SECONDS:
                under_way.fail(line_errors.no_worker(model))

    def end_late_ones(self) -> None:
        """End the requests that have reached their time limit."""
        for under_way in self._desk.requests:
            late = self._desk.clock() - under_way.expires_at
            if late > (0 if under_way.worker is None else _GRACE_SECONDS):
                under_way.fail(line_errors.too_slow())


def _is_missed(under_way: UnderWay, now: float) -> bool:
    """Return whether nobody has taken a request for a while. It may be lost if it is not on the list, either."""
    waits = under_way.is_pushed and under_way.worker is None and not under_way.has_ended
    return waits and now - under_way.attempted_at > _TAKING_SECONDS
