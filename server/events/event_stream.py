"""Server-sent events, and the one response that sends them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.api.body_checks import Json

WAITING = b": waiting\n\n"  # a comment, which clients skip
DONE = b"data: [DONE]\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # without this header, nginx collects events
]
json_of = msgspec.json.Encoder().encode


def event(data: Json, name: str | None = None) -> bytes:
    """Return an event. It has no id, because Python's client takes a comment after an id for an empty event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + json_of(data) + b"\n\n"


class EventStream(Response):
    """Sends events as they come. It sends no more than the connection takes, so later events may carry more text.

    Args:
        events: Events and comments. Whoever makes them hears the client leave, and ends them.
        on_end: Called at the end of the response, however it ends.
    """

    def __init__(self, events: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        self._events = events
        self._on_end = on_end

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            async for some in self._events:
                await send({"type": "http.response.body", "body": some, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._on_end()


async def departure(receive: Receive) -> None:
    """Return when the client of a request has left. The body of the request must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
