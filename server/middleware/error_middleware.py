"""Middleware that turns every error into an answer in OpenAI's form."""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.errors import QwenBatchError
from server.middleware.api_error import BUG, ApiError, api_error_of, retry_later

_log = logging.getLogger("server.errors")


class ErrorMiddleware:
    """Answers `ApiError`, the errors of the stores, and bugs.

    An error after the first byte of an answer closes the connection, because the answer cannot be changed any more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
            return
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # only a process that stops cancels requests
            answer = retry_later(503, "This server is stopping.", "shutting_down")
        except ApiError as error:
            answer = error
        except QwenBatchError as error:
            answer = api_error_of(error)
            if answer.status == 500:
                _log.error("%s %s: %s", scope["method"], scope["path"], error)
        except Exception:  # noqa: BLE001 - a bug must not show its text to a client
            _log.exception("%s %s", scope["method"], scope["path"])
            answer = ApiError(500, BUG)
        if started:
            # Nothing can be said any more. The server closes the connection, because the answer is not complete.
            _log.warning("%s %s: the answer broke off", scope["method"], scope["path"])
            return
        await answer.response()(scope, receive, send)
