"""Middleware that decides which web pages may use the API.

Without it, any web page could send requests to a local service.

A browser names the page's origin in each request that it sends for a page of another server. Other clients name none.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.middleware.api_error import ApiError

ANY = "*"
_API = "/v1/"
_EXPOSED = (
    "x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry, x-incomplete, etag, "
    "content-disposition, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_DAY_SECONDS = 86_400


class OriginMiddleware:
    """Lets pages of the allowed origins use the API, and refuses those of others.

    Args:
        app: The application behind this middleware. It must turn errors into answers.
        origins: Allowed origins, such as `https://app.example`. `*` allows every page.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        headers = Headers(scope=scope) if scope["type"] == "http" and scope["path"].startswith(_API) else Headers()
        origin = headers.get("origin")
        if origin is None or _is_own(origin, headers.get("host", "")):
            await self._app(scope, receive, send)
            return
        if ANY not in self._origins and origin.lower() not in self._origins:
            await _refusal(origin).response()(scope, receive, send)
            return
        granted = {"access-control-allow-origin": origin, "vary": "Origin", "access-control-expose-headers": _EXPOSED}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            granted |= {
                "access-control-allow-methods": headers["access-control-request-method"],
                "access-control-allow-headers": headers.get("access-control-request-headers", ""),
                "access-control-max-age": str(_DAY_SECONDS),
            }
            await Response(status_code=204, headers=granted)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(granted)
            await send(message)

        await self._app(scope, receive, with_headers)


def _is_own(origin: str, host: str) -> bool:
    """Return whether a page came from this service. The scheme does not count, because a proxy may add TLS."""
    return origin.partition("://")[2].lower() == host.lower() != ""


def _refusal(origin: str) -> ApiError:
    shown = "".join(char if char.isprintable() else "?" for char in origin[:100])
    return ApiError(
        403,
        f"Pages of {shown} may not use this service. Start it with `--allow-origin ORIGIN` to allow them.",
        code="origin_not_allowed",
    )
