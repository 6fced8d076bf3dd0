"""Run blocking calls in threads, so that the event loop never waits for a server or a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from jobs.errors import StoreUnavailable

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


class InThreads:
    """A limited number of threads for calls of the store, with a time limit per call.

    Args:
        max_threads: Max calls at once. Further calls wait, and their wait counts for the time limit.
        seconds: Max time of a call.
        on_call: Gets the time of each call in seconds, with its wait for a thread.
    """

    def __init__(self, max_threads: int, seconds: float, on_call: Callable[[float], None] | None = None) -> None:
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="store")
        self._seconds = seconds
        self._on_call = on_call
        self._reads: dict[Hashable, _Reads] = {}

    async def run(
        self, call: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """Return what `call` returns. Raises `StoreUnavailable` if the call takes too long, and its own errors."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        running = loop.run_in_executor(self._pool, partial(call, *args, **kwargs))
        try:
            return await asyncio.wait_for(running, self._seconds)
        except TimeoutError:
            raise StoreUnavailable("The store does not answer in time.", "Try again in a moment.") from None
        finally:
            if self._on_call is not None:
                self._on_call(loop.time() - began)

    async def shared(self, key: Hashable, read: Callable[[], _Result]) -> _Result:
        """Return what `read` returns. Callers with the same key share a read.

        The read that a caller shares always begins after the call, so that it sees every earlier change.
        """
        reads = self._reads.setdefault(key, _Reads())
        reads.callers += 1
        try:
            result: _Result = await reads.after_now(lambda: self.run(read))
            return result
        finally:
            reads.callers -= 1
            if reads.callers == 0:
                self._reads.pop(key, None)

    def close(self) -> None:
        """Let go of the threads. Calls under way go on."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Reads:
    """The reads of one key: at most one that runs, and one that waits for it."""

    def __init__(self) -> None:
        self.callers = 0
        self._running: asyncio.Task[Any] | None = None
        self._next: asyncio.Task[Any] | None = None

    async def after_now(self, start: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the read returns
        """Return the result of a read that begins after this call."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._run_after(self._running, start))
        return await asyncio.shield(self._next)

    async def _run_after(self, before: asyncio.Task[Any] | None, start: Callable[[], Any]) -> Any:  # noqa: ANN401
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = asyncio.current_task(), None
        return await start()
