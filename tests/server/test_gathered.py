"""Requests that share one call of the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from jobs.errors import StoreUnavailable
from server.gathered import Gathered
from server.in_threads import InThreads


class Doubling:
    """A call that doubles numbers, and fails for 13. Its first call waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(items))
        if len(self.calls) == 1:
            self.began.set()
            self.go_on.wait(60)
        return [ValueError("unlucky") if item == 13 else 2 * item for item in items]


async def answers(call: Doubling, later: Sequence[int]) -> list[int | BaseException]:
    """The answers of one item, and of items that come while the first call is under way."""
    threads = InThreads(4, 60)
    gathered: Gathered[int, int] = Gathered(threads, call)
    first = asyncio.ensure_future(gathered.get(1))
    await asyncio.to_thread(call.began.wait, 60)
    rest = [asyncio.ensure_future(gathered.get(item)) for item in later]
    await asyncio.sleep(0)  # each of them has come now
    call.go_on.set()
    found = await asyncio.gather(first, *rest, return_exceptions=True)
    threads.close()
    return found


def test_items_that_come_during_a_call_share_the_next_one() -> None:
    call = Doubling()
    assert asyncio.run(answers(call, range(12))) == [2, *range(0, 24, 2)]
    assert call.calls == [[1], list(range(12))]


def test_very_many_items_are_passed_on_in_several_calls() -> None:
    call = Doubling()
    assert asyncio.run(answers(call, [7] * 450)) == [2] + [14] * 450
    assert [len(items) for items in call.calls] == [1, 200, 200, 50]


def test_an_error_among_the_results_reaches_only_the_caller_of_its_item() -> None:
    found = asyncio.run(answers(Doubling(), [12, 13, 14]))
    assert [found[1], found[3]] == [24, 28]
    assert isinstance(found[2], ValueError)


def test_a_call_that_fails_fails_for_everybody_who_shares_it_and_the_next_one_works() -> None:
    outcomes: list[Exception | None] = [StoreUnavailable("gone"), None]

    def call(items: Sequence[int]) -> list[int | Exception]:
        error = outcomes.pop(0)
        if error is not None:
            raise error
        return list(items)

    async def ask() -> None:
        threads = InThreads(4, 60)
        gathered: Gathered[int, int] = Gathered(threads, call)
        first = await asyncio.gather(*(gathered.get(item) for item in (1, 2)), return_exceptions=True)
        assert [type(error) for error in first] == [StoreUnavailable] * 2
        assert await gathered.get(3) == 3
        threads.close()

    asyncio.run(ask())


def test_a_caller_who_leaves_does_not_disturb_the_others() -> None:
    async def ask() -> None:
        call, threads = Doubling(), InThreads(4, 60)
        gathered: Gathered[int, int] = Gathered(threads, call)
        leaving, staying = (asyncio.ensure_future(gathered.get(item)) for item in (1, 2))
        await asyncio.to_thread(call.began.wait, 60)
        leaving.cancel()
        call.go_on.set()
        assert await staying == 4
        threads.close()

    asyncio.run(ask())
