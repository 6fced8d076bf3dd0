"""A task that is woken over and over."""

from __future__ import annotations

import asyncio

from server.online.wakeup import Wakeup

SOON = 0.01


def test_a_task_that_waits_is_woken_once_per_call() -> None:
    async def waits() -> list[bool]:
        wakeup, loop = Wakeup(), asyncio.get_running_loop()
        loop.call_soon(wakeup.set)
        return [await wakeup.wait(60), await wakeup.wait(SOON)]

    assert asyncio.run(waits()) == [True, False]


def test_a_call_before_the_wait_counts() -> None:
    async def waits() -> bool:
        wakeup = Wakeup()
        wakeup.set()
        wakeup.set()
        return await wakeup.wait(60)

    assert asyncio.run(waits())


def test_the_time_limit_of_an_earlier_wait_does_not_end_a_later_one() -> None:
    async def waits() -> list[bool]:
        wakeup, loop = Wakeup(), asyncio.get_running_loop()
        loop.call_soon(wakeup.set)
        first = await wakeup.wait(SOON)
        loop.call_later(3 * SOON, wakeup.set)  # after the first wait's limit
        return [first, await wakeup.wait(60)]

    assert asyncio.run(waits()) == [True, True]


def test_a_shorter_wait_after_a_longer_one_ends_in_its_own_time() -> None:
    async def waits() -> list[bool]:
        wakeup, loop = Wakeup(), asyncio.get_running_loop()
        loop.call_soon(wakeup.set)
        return [await wakeup.wait(3600), await wakeup.wait(SOON)]

    assert asyncio.run(waits()) == [True, False]


def test_a_cancelled_wait_leaves_the_next_one_alone() -> None:
    async def waits() -> bool:
        wakeup = Wakeup()
        waiting = asyncio.ensure_future(wakeup.wait(60))
        await asyncio.sleep(0)  # now it waits
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        wakeup.set()
        return await wakeup.wait(60)

    assert asyncio.run(waits())
