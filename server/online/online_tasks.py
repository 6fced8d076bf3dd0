"""Tasks that run in an HTTP process beside its requests, so that interactive requests get their replies."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from jobs.online.online_store import PlacedEntry
from server.online.reply_reader import ReplyReader
from server.online.upkeep import Upkeep
from server.state import Services


class OnlineTasks:
    """The reader of replies and the upkeep of one HTTP process.

    Args:
        services: What the process has. All of it is used on the event loop on which `start` is called.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader = ReplyReader(services.stores.replies, services.online.server, self._hand_on)

    def start(self) -> None:
        """Begin to hear workers."""
        services, desk = self._services, self._services.online
        upkeep = Upkeep(desk, services.stores.online, services.stores.jobs.fleet, services.store_threads)
        self._loop = asyncio.get_running_loop()
        self._reader.start()
        ending = upkeep.end_all(services.draining, services.options.drain_seconds)
        self._tasks = [asyncio.ensure_future(upkeep.run()), asyncio.ensure_future(ending)]

    def stop(self) -> None:
        """Stop hearing workers."""
        self._reader.stop()
        for task in self._tasks:
            task.cancel()

    def _hand_on(self, entries: list[PlacedEntry]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._services.online.hear, entries)
