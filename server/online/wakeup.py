"""Wakes the task of one request. It is cheap, because it happens for every piece of every stream."""

from __future__ import annotations

import asyncio


class Wakeup:
    """An event for one task that waits with a time limit, over and over. All calls happen on the event loop.

    `asyncio.wait_for` would make a timer, a task and a future per wait. Here a wait makes one future. The timer of an
    earlier wait serves the later ones, too: it rings, and then sleeps again for the rest of the current wait.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None
        self._waits_until = 0.0  # by the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def set(self) -> None:
        """Wake the task that waits, or else let its next wait return at once."""
        self._is_set = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Wait for `set`, and unset it. Returns False if nobody has called `set` after `seconds`."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            self._waits_until = loop.time() + seconds
            self._let_ring(loop)
            self._waiter = loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        was_set, self._is_set = self._is_set, False
        return was_set

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _let_ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make sure that a timer rings, at the end of the current wait at the latest."""
        if self._timer is not None:
            if self._rings_at <= self._waits_until:
                return
            self._timer.cancel()
        self._rings_at = self._waits_until
        self._timer = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None:
            return  # the next wait makes a timer
        if loop.time() < self._waits_until:
            self._let_ring(loop)
        else:
            self._wake()
