"""Middleware that lets only requests with a valid API key pass."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.caller import EVERYBODY, Caller, Right, set_caller
from server.access.key_ring import KeyRing
from server.middleware.api_error import ApiError

OPEN_PATHS = frozenset({"/health", "/ready"})  # for load balancers, which have no key
_ONLINE_PATHS = ("/v1/chat/", "/v1/completions", "/v1/responses", "/v1/score", "/v1/embeddings", "/v1/rerank")


class KeyMiddleware:
    """Notes the caller of each request.

    Args:
        app: The application behind this middleware.
        keys: The valid keys.
        auth: False if the service has no keys. Then every request belongs to the project `default`.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, auth: bool) -> None:
        self._app = app
        self._keys = keys
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise `ApiError`."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            set_caller(scope, self._caller(Headers(scope=scope), scope["path"]) if self._auth else EVERYBODY)
        await self._app(scope, receive, send)

    def _caller(self, headers: Headers, path: str) -> Caller:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401,
                "You did not provide an API key. Send it in an Authorization header: `Authorization: Bearer KEY`.",
                headers={"www-authenticate": "Bearer"},
            )
        caller = self._keys.caller(key.strip())
        if caller is None:
            raise ApiError(
                401,
                f"Incorrect API key provided: {_shortened(key.strip())}. The key is unknown or has expired.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        project = headers.get("openai-project")
        if project is not None and project != caller.project:
            raise ApiError(
                401, "The OpenAI-Project header names another project than the API key.", code="mismatched_project"
            )
        needed = _right_for(path)
        if needed is not None and needed not in caller.rights:
            raise ApiError(
                403,
                f"This API key lacks the right `{needed}`. Ask for a key that has it.",
                code="insufficient_permissions",
            )
        return caller


def _right_for(path: str) -> Right | None:
    """Return the right that a path needs, or None if every key may use it."""
    if path.startswith("/v1/models") or path in ("/docs", "/openapi.json"):
        return None
    if path.startswith(_ONLINE_PATHS):
        return "online"
    return "admin" if path == "/metrics" else "batch"


def _shortened(key: str) -> str:
    """Return the beginning of a key, for a message that may end up in a log."""
    shown = "".join(char if char.isascii() and char.isprintable() else "?" for char in key[:9])
    return f"{shown}…" if len(key) > 9 else "…"
