"""Answer many requests by one call of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from server.in_threads import InThreads

_MAX_ITEMS = 200  # per call, so that no call takes long

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Gathered(Generic[_Item, _Result]):
    """Passes items to a blocking call. Items that come while a call is under way wait, and share the next call.

    A call costs a change of threads and a round trip, however many items it has. So the cost per item falls when many
    items come. A call always begins after its items have come, and therefore sees every earlier change of the store.

    Args:
        threads: Where the call runs.
        call: Gets items, and returns one result per item in their order. An exception among the results is raised to
            the caller who brought the item.
    """

    def __init__(self, threads: InThreads, call: Callable[[Sequence[_Item]], Sequence[_Result | Exception]]) -> None:
        self._threads = threads
        self._call = call
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def get(self, item: _Item) -> _Result:
        """Return the result of an item. Raises what `InThreads.run` raises, and the errors of the call."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.ensure_future(self._work())
        return await future

    async def _work(self) -> None:
        """Run calls until no item waits."""
        try:
            while self._waiting:
                items, self._waiting = self._waiting[:_MAX_ITEMS], self._waiting[_MAX_ITEMS:]
                await self._answer(items)
        finally:
            self._running = None

    async def _answer(self, items: Sequence[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        results: Sequence[_Result | Exception]
        try:
            results = await self._threads.run(self._call, [item for item, _ in items])
        except Exception as error:  # noqa: BLE001 - it belongs to each caller
            results = [error] * len(items)
        for (_, future), result in zip(items, results, strict=True):
            if future.done():  # the client that asked has left
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
