"""Calls of the store from the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jobs.errors import StoreUnavailable
from server.in_threads import InThreads


def test_a_call_that_takes_too_long_is_a_store_that_does_not_answer() -> None:
    stuck = threading.Event()

    async def call() -> None:
        threads = InThreads(1, 0.01)
        with pytest.raises(StoreUnavailable, match="in time"):
            await threads.run(stuck.wait)
        stuck.set()
        threads.close()

    asyncio.run(call())


def test_callers_share_a_read_that_begins_after_all_of_them_have_asked() -> None:
    reads: list[int] = []
    first_began, go_on = threading.Event(), threading.Event()

    def read() -> int:
        reads.append(len(reads))
        if len(reads) == 1:
            first_began.set()
            go_on.wait(60)
        return reads[-1]

    async def ask() -> list[int]:
        threads = InThreads(4, 60)
        first = asyncio.ensure_future(threads.shared("key", read))
        await asyncio.to_thread(first_began.wait, 60)
        later = [asyncio.ensure_future(threads.shared("key", read)) for _ in range(20)]
        await asyncio.sleep(0)  # each of them has asked now
        go_on.set()
        answers = await asyncio.gather(first, *later)
        threads.close()
        return answers

    assert asyncio.run(ask()) == [0] + [1] * 20
    assert len(reads) == 2


def test_every_caller_hears_of_a_read_that_fails_and_the_next_read_begins_anew() -> None:
    outcomes = iter([StoreUnavailable("gone"), None])

    def read() -> str:
        failure = next(outcomes)
        if failure is not None:
            raise failure
        return "good"

    async def ask() -> None:
        threads = InThreads(2, 60)
        answers = await asyncio.gather(*(threads.shared("key", read) for _ in range(2)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
        assert await threads.shared("key", read) == "good"
        threads.close()

    asyncio.run(ask())
