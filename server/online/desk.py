"""The interactive requests of one HTTP process: takes them on, hears the workers, and repeats what a worker lost."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from jobs.errors import StoreFull, StoreUnavailable
from jobs.online.messages import AnyReply, Gone, OnlineRequest, Piece, ReplyEntry, Taken
from jobs.online.online_store import OnlineServerSide, PlacedEntry
from jobs.stores.worker_facets import Fleet
from server.in_threads import InThreads
from server.middleware.api_error import ApiError
from server.online import line_errors
from server.online.incoming_text import TextDiffers, TextMissing
from server.online.under_way import UnderWay

_log = logging.getLogger("server.online")

_MAX_LOST_WORKERS = 2  # so many workers may die with one request; the next death ends it
_ABORT_SECONDS = 60.0  # for which an order to a worker is repeated while the store is in trouble
_PAUSE_SECONDS = 1.0
_REPEATED_ENTRIES = 16  # an entry whose number is behind by no more than this was sent twice


@dataclass(frozen=True)
class Bounds:
    """Maximum numbers of interactive requests."""

    at_once: int  # per API key and HTTP process
    waiting: int  # per model, over all HTTP processes


def new_server_id() -> str:
    """Return the id of this HTTP process, which is never used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class OnlineDesk:
    """The requests of this process that wait for a result. All methods run on the event loop.

    Args:
        server: The id of this process.
        store: What workers read and answer through.
        fleet: The reports of workers.
        threads: Run the calls of the store.
        bounds: How many requests may be accepted.
        clock: Returns seconds; it never goes back.
    """

    def __init__(
        self,
        server: str,
        store: OnlineServerSide,
        fleet: Fleet,
        threads: InThreads,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        self._store = store
        self._fleet = fleet
        self._threads = threads
        self._bounds = bounds
        self.clock = clock
        self._requests: dict[str, UnderWay] = {}
        self._per_key: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}  # worker -> number of its last entry
        self._tasks: set[asyncio.Task[None]] = set()
        self.store_ahead: float | None = None  # seconds by which the store's clock is ahead of this machine's

    @property
    def requests(self) -> list[UnderWay]:
        """The requests that wait for a result, and closed ones that a worker may still take."""
        return list(self._requests.values())

    async def store_time(self) -> float:
        """Return the time by the store's clock, in seconds since the epoch. Only the first call asks the store."""
        if self.store_ahead is None:
            self.store_ahead = await self._threads.run(lambda: self._store.now() - time.time())
        return time.time() + self.store_ahead

    async def accept(self, request: OnlineRequest, key_id: str, seconds: float) -> UnderWay:
        """Let a request wait for a worker. The caller must `close` what this returns.

        Args:
            request: The first attempt.
            key_id: The API key of its sender.
            seconds: Max time until its end.

        Raises:
            ApiError: No worker takes requests for the model, or too many requests wait.
            StoreUnavailable: The store does not answer.
            StoreFull: The store refuses the request.
        """
        if self._per_key[key_id] >= self._bounds.at_once:
            raise line_errors.too_many_at_once(self._bounds.at_once)
        under_way = UnderWay(request, key_id, self.clock(), seconds)
        self._requests[request.id] = under_way
        self._per_key[key_id] += 1
        try:
            await self._threads.run(self._push_first, request)
        except BaseException as error:
            under_way.is_settled = isinstance(error, ApiError)  # after other errors, the store may have the request
            self.close(under_way)
            raise
        under_way.is_pushed = True
        return under_way

    def _push_first(self, request: OnlineRequest) -> None:
        match self._store.accept(request, self._bounds.waiting):
            case "no_worker":
                reports = [each for each in self._fleet.workers() if each.model == request.model]
                raise line_errors.no_worker(request.model, is_loading=any(each.state == "loading" for each in reports))
            case "queue_full":
                raise line_errors.queue_full(request.model)

    def close(self, under_way: UnderWay) -> None:
        """Let go of a request. If a worker works on it, or may take it, the worker is told to stop."""
        self._per_key[under_way.key_id] -= 1
        if not self._per_key[under_way.key_id]:
            del self._per_key[under_way.key_id]
        if under_way.is_settled:
            self.forget(under_way)
        else:
            under_way.leave()
            self._spawn(self._withdraw(under_way))

    def forget(self, under_way: UnderWay) -> None:
        """Take no more notice of a closed request."""
        self._requests.pop(under_way.request.id, None)

    async def _withdraw(self, under_way: UnderWay) -> None:
        """Take a closed request back, or abort it. If its worker is not known yet, `hear` aborts it later."""
        request = under_way.request
        if under_way.worker is None:
            with suppress(StoreUnavailable, StoreFull):
                if await self._threads.run(self._store.withdraw, request):
                    self.forget(under_way)
        if under_way.worker is not None:
            self.forget(under_way)
            await self._abort(request, under_way.worker)

    async def _abort(self, request: OnlineRequest, worker: str) -> None:
        deadline = self.clock() + _ABORT_SECONDS
        while self.clock() < deadline:
            with suppress(StoreUnavailable, StoreFull):
                await self._threads.run(self._store.abort, request.model, worker, request.id)
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def hear(self, placed: Sequence[PlacedEntry]) -> None:
        """Handle entries of workers, in order."""
        for _, entry in placed:
            if self._is_new(entry):
                for reply in entry.replies:
                    self._hear(reply, entry.worker)

    def _is_new(self, entry: ReplyEntry) -> bool:
        """Return whether an entry was not heard before. If entries before it are missing, their requests begin anew."""
        known = self._numbers.get(entry.worker, 0)
        if 0 <= known - entry.number < _REPEATED_ENTRIES:
            return False
        self._numbers[entry.worker] = entry.number
        if entry.number != known + 1:
            _log.warning("replies %d to %d of worker %s are missing", known + 1, entry.number - 1, entry.worker)
            for under_way in self.requests:
                if under_way.worker == entry.worker:
                    self.repeat(under_way)
        return True

    def _hear(self, reply: AnyReply, worker: str) -> None:
        under_way = self._requests.get(reply.request_id)
        if under_way is None or reply.attempt != under_way.request.attempt:
            return
        if under_way.client_left:
            self.forget(under_way)
            if isinstance(reply, Taken | Piece):
                self._spawn(self._abort(under_way.request, worker))
            return
        if isinstance(reply, Gone):
            under_way.worker = None
            self.repeat(under_way)
            return
        try:
            under_way.receive(reply, worker)
        except TextDiffers:
            under_way.fail(line_errors.stream_diverged())
        except TextMissing:
            self.repeat(under_way)

    def repeat(self, under_way: UnderWay, worker_died: bool = False) -> None:
        """Let another worker, or the same one, make the next attempt at a request. It goes before all others.

        Args:
            under_way: The request. Nothing happens if it has ended.
            worker_died: True if the request may be what killed its worker.
        """
        if under_way.has_ended:
            return
        under_way.lost_workers += worker_died
        if under_way.lost_workers > _MAX_LOST_WORKERS:
            under_way.fail(line_errors.worker_lost())
            return
        before = under_way.worker
        under_way.try_again(self.clock())
        _log.info("attempt %d at request %s", under_way.request.attempt, under_way.request.id)
        self._spawn(self._push_again(under_way, before))

    async def _push_again(self, under_way: UnderWay, before: str | None) -> None:
        request = under_way.request
        while not under_way.has_ended and under_way.request is request:
            with suppress(StoreUnavailable, StoreFull):
                await self._threads.run(self._replace, request, before)
                under_way.is_pushed = True
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def _replace(self, request: OnlineRequest, before: str | None) -> None:
        """Push an attempt in the place of the one before. A worker that has only been silent must not do both."""
        if before is not None:
            self._store.abort(request.model, before, request.id)
        self._store.report_server(self.server)
        self._store.withdraw(request)  # an earlier call may have pushed it although it failed
        self._store.push(request, front=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that must not be cancelled with the request that causes it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
