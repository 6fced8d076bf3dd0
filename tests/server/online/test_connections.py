"""Connections of interactive requests: when headers, comments and text are sent, and what a client that leaves ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route, Router

from jobs.online.memory_online import MemoryOnline
from jobs.online.messages import Abort, OnlineRequest
from jobs.records.model_card import ModelCard
from server.access.key_middleware import KeyMiddleware
from server.api.interactive import InteractiveApi
from server.middleware.error_middleware import ErrorMiddleware
from server.middleware.request_log import RequestLog
from server.online.online_tasks import OnlineTasks
from server.state import Services
from testing.jobs.scripted_worker import ScriptedWorker, end, pieces, taken
from tests.server.conftest import ServeProcess
from tests.server.in_process import services_in_memory
from tests.server.online.conftest import MESSAGES

MODEL = "m"
NEVER = 600.0


class Connection:
    """One request to the application inside this process, and what it has answered so far."""

    def __init__(self, app: Any, stream: bool) -> None:
        body = json.dumps({"model": MODEL, "messages": MESSAGES, "stream": stream}).encode()
        self._to_come: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        self._left = asyncio.Event()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.may_send = asyncio.Event()
        self.may_send.set()
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http"}
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    async def message(self) -> dict[str, Any]:
        """Return the next message of the answer."""
        return await self._sent.get()

    async def text(self) -> str:
        """Return the next part of the answer's body."""
        return str((await self.message())["body"].decode())

    async def _receive(self) -> dict[str, Any]:
        if self._to_come:
            return self._to_come.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self._sent.put_nowait(message)
        await self.may_send.wait()


@asynccontextmanager
async def running(folder: Path, store: MemoryOnline) -> AsyncIterator[Services]:
    services = services_in_memory(folder, store)
    services.stores.jobs.fleet.publish_model(ModelCard(MODEL, 1000, 2048, has_chat_template=True))
    store.report_worker(MODEL, "worker")  # time stands still, so this report does not expire
    tasks = OnlineTasks(services)
    tasks.start()
    try:
        yield services
    finally:
        tasks.stop()


def app_with(services: Services, header_seconds: float, comment_seconds: float) -> Any:
    """The endpoint of chats alone, with other times."""
    api = InteractiveApi(services, header_seconds, comment_seconds)
    router = Router([Route("/v1/chat/completions", api.chat, methods=["POST"])])
    return RequestLog(ErrorMiddleware(KeyMiddleware(router, services.keys, auth=False)), services.meter)


async def taken_chat(services: Services, store: MemoryOnline) -> tuple[Connection, ScriptedWorker, OnlineRequest]:
    """A stream whose request a worker has taken. Nothing of the answer has been read."""
    connection = Connection(app_with(services, NEVER, NEVER), stream=True)
    worker = ScriptedWorker(store, MODEL)
    request = await asyncio.to_thread(worker.take)
    worker.say(request, taken(request))
    return connection, worker, request


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_a_stream_begins_when_a_worker_has_taken_its_request(tmp_path: Path) -> None:
    async def test() -> None:
        store = MemoryOnline(lambda: 1000.0)
        async with running(tmp_path, store) as services:
            connection, worker, request = await taken_chat(services, store)
            start = await connection.message()
            headers = dict(start["headers"])
            assert (start["status"], headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
            assert headers[b"x-request-id"].decode() == request.id
            assert '"role":"assistant"' in await connection.text()
            worker.say(request, *pieces(request, "5"))
            assert '"content":"5"' in await connection.text()
            worker.say(request, end(request, "5"))
            assert (await connection.text()).endswith("data: [DONE]\n\n")
            assert not (await connection.message())["more_body"]
            await connection.task
            assert services.online.requests == []

    run(test())


def test_a_stream_begins_in_any_case_and_comments_keep_it_alive(tmp_path: Path) -> None:
    async def test() -> None:
        store = MemoryOnline(lambda: 1000.0)
        async with running(tmp_path, store) as services:
            connection = Connection(app_with(services, 0.01, 0.01), stream=True)
            assert (await connection.message())["status"] == 200
            await connection.text()
            assert [await connection.text() for _ in range(3)] == [": waiting\n\n"] * 3
            connection.leave()
            await connection.task

    run(test())


def test_the_text_for_a_slow_client_is_merged(tmp_path: Path) -> None:
    async def test() -> None:
        store = MemoryOnline(lambda: 1000.0)
        async with running(tmp_path, store) as services:
            connection, worker, request = await taken_chat(services, store)
            await connection.message()
            await connection.text()
            connection.may_send.clear()
            worker.say(request, *pieces(request, "one"))
            assert '"content":"one"' in await connection.text()
            for offset, piece in ((3, ", two"), (8, ", three")):
                worker.say(request, *pieces(request, piece, offset=offset))
            worker.say(request, end(request, "one, two, three"))
            while services.online.requests[0].completion is None:
                await asyncio.sleep(0.001)  # the reader is another thread
            connection.may_send.set()
            assert '"content":", two, three"' in await connection.text()
            await connection.task

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_it_waits_takes_its_request_back(tmp_path: Path, stream: bool) -> None:
    async def test() -> None:
        store = MemoryOnline(lambda: 1000.0)
        async with running(tmp_path, store) as services:
            connection = Connection(app_with(services, NEVER, NEVER), stream)
            while not store.waiting(MODEL):
                await asyncio.sleep(0.001)  # the store is written to on another thread
            connection.leave()
            await connection.task
            while store.waiting(MODEL):
                await asyncio.sleep(0.001)

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_the_worker_of_a_client_that_leaves_is_told_to_stop(
    service: ServeProcess, scripted: ScriptedWorker, model: str, stream: bool
) -> None:
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": stream})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    host, _, port = service.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall((head + body).encode())
        request = scripted.take()
        scripted.say(request, taken(request), *pieces(request, "5"))
        if stream:
            assert connection.recv(10).startswith(b"HTTP/1.1 ")
    assert scripted.order() == Abort(request.id)
