"""Middleware that refuses requests to unknown host names.

Without it, a web page could make its own name resolve to this machine, and so drive a local service (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.key_middleware import OPEN_PATHS
from server.middleware.api_error import ApiError

_LOCAL = ("localhost", "127.0.0.1", "::1")
ANY = "*"


class HostMiddleware:
    """Refuses a `Host` that is neither an IP address, nor a local name, nor one of `names`.

    An IP address cannot be the name of somebody else's page, so every address is allowed.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in (*names, *_LOCAL))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise `ApiError`."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and ANY not in self._names:
            name = _name_of(Headers(scope=scope).get("host", ""))
            if name not in self._names and not _is_address(name):
                raise ApiError(
                    421,
                    f"This server does not answer to the host name {name[:100]!r}. Start it with `--host-name NAME`.",
                    code="unknown_host",
                )
        await self._app(scope, receive, send)


def _name_of(host: str) -> str:
    """Return the host without its port, in lower case. An IPv6 address loses its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
