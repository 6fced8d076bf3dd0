"""Requests whose worker dies, leaves or loses its words: the text goes on, or the client gets an error."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from jobs.online.messages import Abort, Gone
from server.middleware.api_error import ApiError
from server.online.under_way import UnderWay
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken
from tests.server.online.online_room import MODEL, OnlineRoom


def text_of(under_way: UnderWay) -> str:
    return "".join(new.text for new in under_way.new_texts())


def error_of(under_way: UnderWay) -> ApiError:
    assert under_way.error is not None
    return under_way.error


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


@pytest.fixture
def room() -> OnlineRoom:
    return OnlineRoom()


def test_a_second_worker_goes_on_where_a_dead_one_stopped(room: OnlineRoom) -> None:
    async def test() -> None:
        first, second = room.workers
        under_way = await room.accepted()
        old = await room.taken(first)
        first.say(old, taken(old), *pieces(old, "2 + 3"))
        room.hear()
        assert text_of(under_way) == "2 + 3"
        other = await room.accepted("other")
        await room.after(2.0, second)
        assert under_way.worker == first.name
        await room.after(2.0, second)
        new = await room.taken(second)
        assert (new.id, new.attempt, new.prompt) == (old.id, 1, old.prompt)
        second.say(new, taken(new), *pieces(new, "2 +", " 3 is"))
        first.say(old, *pieces(old, " something else", offset=5))
        second.say(new, end(new, "2 + 3 is 5"))
        room.hear()
        assert text_of(under_way) == " is 5"
        assert (under_way.completion is not None, under_way.error, other.worker) == (True, None, None)

    run(test())


@pytest.mark.parametrize("whole", [False, True])
def test_a_text_that_differs_from_what_was_sent_is_an_error(room: OnlineRoom, whole: bool) -> None:
    async def test() -> None:
        first, second = room.workers
        under_way = await room.accepted()
        request = await room.taken(first)
        first.say(request, taken(request), *pieces(request, "2 + 3 is", " five"))
        room.hear()
        assert text_of(under_way) == "2 + 3 is five"
        first.say(request, Gone(request.id, 0))
        room.hear()
        request = await room.taken(second)
        second.say(request, taken(request), *(() if whole else pieces(request, "2 + 3 makes")))
        if whole:
            second.say(request, end(request, "2 + 3 is four"))
        room.hear()
        assert error_of(under_way).code == "stream_diverged"

    run(test())


def test_what_was_not_sent_yet_may_differ(room: OnlineRoom) -> None:
    async def test() -> None:
        first, second = room.workers
        under_way = await room.accepted()
        request = await room.taken(first)
        first.say(request, taken(request), *pieces(request, "2 +"))
        room.hear()
        assert text_of(under_way) == "2 +"
        first.say(request, *pieces(request, " three", offset=3), Gone(request.id, 0))
        room.hear()
        request = await room.taken(second)
        second.say(request, taken(request), *pieces(request, "2 + 3"), end(request, "2 + 3"))
        room.hear()
        assert text_of(under_way) == " 3"

    run(test())


@pytest.mark.parametrize("noticed_by", ["number", "offset"])
def test_a_request_with_a_gap_in_its_replies_begins_anew(room: OnlineRoom, noticed_by: str) -> None:
    async def test() -> None:
        worker, _ = room.workers
        under_way = await room.accepted()
        request = await room.taken(worker)
        worker.say(request, taken(request), *pieces(request, "2 +"))
        lost = noticed_by == "number"
        worker.say(request, *pieces(request, " 5", offset=3 if lost else 5), skipped=1 if lost else 0)
        room.hear()
        assert await asyncio.to_thread(worker.order) == Abort(request.id)
        request = await room.taken(worker)
        worker.say(request, taken(request), *pieces(request, "2 + 3"), end(request, "2 + 3"))
        room.hear()
        assert text_of(under_way) == "2 + 3"

    run(test())


def test_a_request_that_kills_its_workers_is_given_up(room: OnlineRoom) -> None:
    async def test() -> None:
        _, other = room.workers
        under_way = await room.accepted()
        for attempt in range(3):
            assert under_way.error is None
            worker = ScriptedWorker(room.store, MODEL)
            room.report(worker)
            request = await room.taken(worker)
            assert request.attempt == attempt
            worker.say(request, taken(request))
            room.hear()
            await room.after(4.0, other)
        assert error_of(under_way).code == "worker_lost"

    run(test())


def test_a_request_that_its_worker_never_confirmed_is_given_to_another(room: OnlineRoom) -> None:
    async def test() -> None:
        first, second = room.workers
        lost = await room.accepted()
        await room.taken(first)
        waiting = await room.accepted("other")
        await room.after(9.0, second)
        assert lost.request.attempt == 0
        await room.after(2.0, second)
        request = await room.taken(second)
        while request.id != lost.request.id:  # the repetition is pushed on another thread
            request = await room.taken(second)
        assert (request.attempt, waiting.request.attempt) == (1, 0)

    run(test())


def test_a_process_that_was_silent_lets_its_requests_begin_anew(room: OnlineRoom) -> None:
    async def test() -> None:
        worker, _ = room.workers
        under_way = await room.accepted()
        request = await room.taken(worker)
        worker.say(request, taken(request))
        room.hear()
        await room.after(4.9, worker)
        assert under_way.request.attempt == 0
        await room.after(5.1, worker)
        assert await asyncio.to_thread(worker.order) == Abort(request.id)
        assert (await room.taken(worker)).attempt == 1

    run(test())


def test_a_request_without_any_worker_ends_after_a_while(room: OnlineRoom) -> None:
    async def test() -> None:
        worker, _ = room.workers
        under_way = await room.accepted()
        await room.after(20.0, worker)
        await room.after(20.0)
        assert under_way.error is None
        await room.after(11.0)
        assert error_of(under_way).code == "no_worker"

    run(test())


def test_a_request_that_reaches_its_time_limit_ends(room: OnlineRoom) -> None:
    async def test() -> None:
        worker, _ = room.workers
        begun = await room.accepted("first", seconds=10.0)
        request = await room.taken(worker)
        worker.say(request, taken(request))
        room.hear()
        waiting = await room.accepted("second", seconds=10.0)
        for seconds in (3.0, 3.0, 3.0, 2.0):
            await room.after(seconds, worker)
        assert error_of(waiting).headers["x-should-retry"] == "false"
        assert begun.error is None
        await room.after(4.5, worker)
        assert error_of(begun).code == "request_timeout"

    run(test())


def test_a_process_that_stops_ends_its_requests(room: OnlineRoom) -> None:
    async def test() -> None:
        under_way, draining = await room.accepted(), asyncio.Event()
        ending = asyncio.ensure_future(room.upkeep.end_all(draining, 0.0))
        assert not await under_way.change(0.01)
        draining.set()
        await ending
        assert error_of(under_way).code == "shutting_down"

    run(test())


@pytest.mark.parametrize("heard", [False, True])
def test_the_worker_of_a_closed_request_is_told_to_stop(room: OnlineRoom, heard: bool) -> None:
    async def test() -> None:
        worker, _ = room.workers
        under_way = await room.accepted()
        request = await room.taken(worker)
        if not heard:
            room.desk.close(under_way)
        worker.say(request, taken(request), *pieces(request, "2"))
        room.hear()
        if heard:
            room.desk.close(under_way)
        assert await asyncio.to_thread(worker.order) == Abort(request.id)

    run(test())


def test_a_closed_request_that_waits_is_taken_back(room: OnlineRoom) -> None:
    async def test() -> None:
        under_way, other = await room.accepted("first"), await room.accepted("second")
        room.desk.close(under_way)
        while room.desk.requests != [other]:
            await asyncio.sleep(0)
        assert (await room.taken(room.workers[0])).id == other.request.id

    run(test())


def test_a_key_and_a_model_have_only_so_many_requests(room: OnlineRoom) -> None:
    async def test() -> None:
        first = await room.accepted()
        await room.accepted()
        with pytest.raises(ApiError, match="At most 2 are allowed") as raised:
            await room.accepted()
        assert (raised.value.status, raised.value.code) == (429, "rate_limit_exceeded")
        await room.accepted("other")
        with pytest.raises(ApiError, match="Too many requests wait") as full:
            await room.accepted("third")
        assert (full.value.status, full.value.code) == (503, "queue_full")
        await room.taken(room.workers[0])
        room.desk.close(first)
        await room.accepted()

    run(test())
