"""Interactive requests in memory, for tests. It also states the rules plainly."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TypeVar

from jobs.online.messages import Abort, OnlineRequest, ReplyEntry
from jobs.online.online_store import SERVER_SECONDS, WORKER_SECONDS, Acceptance, PlacedEntry
from jobs.stores.damage import Damage

_Found = TypeVar("_Found")


class MemoryOnline:
    """Implements `OnlineStore`.

    Args:
        clock: Returns seconds since the epoch. Reports expire by it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.damage = Damage()
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, list[OnlineRequest]] = defaultdict(list)  # by model
        self._orders: dict[tuple[str, str], list[Abort]] = defaultdict(list)  # by model and worker
        self._entries: dict[str, list[ReplyEntry]] = defaultdict(list)  # by server; entry n has the place n + 1
        self._servers: dict[str, float] = {}  # -> expiry
        self._workers: dict[tuple[str, str], float] = {}  # model and worker -> expiry

    def now(self) -> float:
        return self._clock()

    # --- what an HTTP process does ---

    def accept(self, request: OnlineRequest, max_waiting: int) -> Acceptance:
        with self._changed:
            self.report_server(request.server)
            if not self.live_workers(request.model):
                return "no_worker"
            if self.waiting(request.model) >= max_waiting:
                return "queue_full"
            self.push(request)
            return "accepted"

    def push(self, request: OnlineRequest, front: bool = False) -> None:
        with self._changed:
            waiting = self._waiting[request.model]
            waiting.insert(0 if front else len(waiting), request)
            self._changed.notify_all()

    def waiting(self, model: str) -> int:
        with self._changed:
            return len(self._waiting[model])

    def is_waiting(self, request: OnlineRequest) -> bool:
        with self._changed:
            return request in self._waiting[request.model]

    def withdraw(self, request: OnlineRequest) -> bool:
        with self._changed:
            waits = request in self._waiting[request.model]
            if waits:
                self._waiting[request.model].remove(request)
            return waits

    def abort(self, model: str, worker: str, request_id: str) -> None:
        with self._changed:
            self._orders[model, worker].append(Abort(request_id))
            self._changed.notify_all()

    def replies(self, server: str, after: str, block_seconds: float) -> list[PlacedEntry]:
        first = int(after)
        entries = self._wait(lambda: self._entries[server][first:], block_seconds)
        return [PlacedEntry(str(first + offset), entry) for offset, entry in enumerate(entries, 1)]

    def report_server(self, server: str) -> float:
        with self._changed:
            now = self._clock()
            self._servers[server] = now + SERVER_SECONDS
            return now

    def live_workers(self, model: str) -> list[str]:
        with self._changed:
            now = self._clock()
            return sorted(worker for (of, worker), until in self._workers.items() if of == model and until > now)

    # --- what a worker does ---

    def take(
        self, model: str, worker: str, block_seconds: float, requests: bool = True
    ) -> OnlineRequest | Abort | None:
        def first() -> OnlineRequest | Abort | None:
            orders, waiting = self._orders[model, worker], self._waiting[model]
            if orders:
                return orders.pop(0)
            return waiting.pop(0) if requests and waiting else None

        return self._wait(first, block_seconds)

    def reply(self, server: str, entry: ReplyEntry) -> None:
        with self._changed:
            self._entries[server].append(entry)
            self._changed.notify_all()

    def live_servers(self, servers: Collection[str]) -> set[str]:
        with self._changed:
            now = self._clock()
            return {server for server in servers if self._servers.get(server, 0.0) > now}

    def report_worker(self, model: str, worker: str) -> None:
        with self._changed:
            self._workers[model, worker] = self._clock() + WORKER_SECONDS

    def forget_worker(self, model: str, worker: str) -> None:
        with self._changed:
            self._workers.pop((model, worker), None)

    def _wait(self, look: Callable[[], _Found], seconds: float) -> _Found:
        """Return what `look` finds, as soon as it finds something. After `seconds`, return what it found last."""
        until = time.monotonic() + seconds
        with self._changed:
            while not (found := look()):
                if not self._changed.wait(until - time.monotonic()):
                    break
            return found
