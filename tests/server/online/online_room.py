"""One HTTP process without HTTP, for tests of what happens between it and its workers."""

from __future__ import annotations

import asyncio
import itertools

from jobs.online.memory_online import MemoryOnline
from jobs.online.messages import OnlineRequest
from jobs.online.online_store import BEGIN
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.memory.store import MemoryJobStore
from server.in_threads import InThreads
from server.online.desk import Bounds, OnlineDesk
from server.online.under_way import UnderWay
from server.online.upkeep import Upkeep
from testing.jobs.scripted_worker import ScriptedWorker

MODEL = "m"


class OnlineRoom:
    """An HTTP process over a store in memory whose time a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = MemoryOnline(lambda: self.now)
        threads = InThreads(4, 60.0)
        self.fleet = MemoryJobStore(lambda: self.now).fleet
        bounds = Bounds(at_once=2, waiting=3)
        self.desk = OnlineDesk("server:1", self.store, self.fleet, threads, bounds, lambda: self.now)
        self.upkeep = Upkeep(self.desk, self.store, self.fleet, threads)
        self.workers = ScriptedWorker(self.store, MODEL), ScriptedWorker(self.store, MODEL)
        self._ids = itertools.count()
        self._place = BEGIN
        self.report(*self.workers)

    def report(self, *workers: ScriptedWorker) -> None:
        """Let these workers be alive."""
        for worker in workers:
            self.store.report_worker(MODEL, worker.name)

    async def accepted(self, key_id: str = "key", seconds: float = 600.0) -> UnderWay:
        """A request that waits for a worker."""
        id = f"req_{next(self._ids)}"
        prompt = Prompt(0, id, "2 + 3 =", endpoint="completions", settings=SamplingSettings(seed=1))
        request = OnlineRequest(id, "server:1", MODEL, prompt, self.now + seconds, stream=True)
        return await self.desk.accept(request, key_id, seconds)

    async def taken(self, worker: ScriptedWorker) -> OnlineRequest:
        """The next request, which a worker has taken, once all that is to be pushed has been pushed."""
        if self.desk._tasks:
            await asyncio.wait(self.desk._tasks)
        return await asyncio.to_thread(worker.take)

    def hear(self) -> None:
        """Let the process hear what workers have said."""
        entries = self.store.replies("server:1", self._place, 0.001)
        if entries:
            self._place = entries[-1].place
            self.desk.hear(entries)

    async def after(self, seconds: float, *alive: ScriptedWorker) -> None:
        """Let time pass. Afterwards, these workers are alive, and the process looks after its requests."""
        self.now += seconds
        self.report(*alive)
        await self.upkeep.look()
        self.upkeep.end_late_ones()
