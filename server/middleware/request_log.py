"""The outermost middleware: gives each request an id, counts it, and writes one line about it to the log."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.caller import EVERYBODY
from server.limits.rate_headers import rate_headers
from server.metrics.http_meter import HttpMeter

_log = logging.getLogger("server.access")
_ID = "qwen_batch.request_id"
_QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds


def request_id_of(scope: Scope) -> str:
    """Return the id of a request that has passed the log."""
    request_id: str = scope[_ID]
    return request_id


class RequestLog:
    """Adds the headers of every answer. The log has no query, no body and no file name: they may be confidential."""

    def __init__(self, app: ASGIApp, meter: HttpMeter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began, status = f"req_{secrets.token_hex(12)}", time.perf_counter(), 0
        first_seconds: float | None = None

        scope[_ID] = request_id

        async def with_headers(message: Message) -> None:
            nonlocal status, first_seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["openai-processing-ms"] = str(round((time.perf_counter() - began) * 1000))
                headers["openai-version"] = "2020-10-01"
                headers["x-content-type-options"] = "nosniff"
                headers.update(rate_headers(scope))
            elif first_seconds is None and message.get("body"):
                first_seconds = time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        finally:
            level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
            seconds = time.perf_counter() - began
            self._meter.add(scope, status, seconds, first_seconds)
            key = scope.get("qwen_batch.caller", EVERYBODY).key_id
            _log.log(
                level, "%s %s %d %.1f ms %s %s", scope["method"], scope["path"], status, seconds * 1000, request_id, key
            )
