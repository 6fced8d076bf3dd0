"""Log in with an API key, log out, and choose light or dark."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from server.access.key_file import hash_of
from server.api.body_checks import read_body
from server.middleware.api_error import ApiError
from server.pages.rendering import THEME_COOKIE, THEMES, Renderer, local_path, redirect
from server.pages.visitor import COOKIE, Visitor, set_session
from server.state import Services

_FORM_BYTES = 16 * 1024
_YEAR_SECONDS = 365 * 86_400


class LoginPages:
    """Begins and ends sessions. A service without keys has no login."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request) -> Response:
        """GET /login: show the form."""
        if not self._services.options.auth:
            return redirect("/")
        return self._form(request, local_path(request.query_params.get("next", "/")))

    async def begin(self, request: Request) -> Response:
        """POST /login: begin a session, if the key is valid."""
        if not self._services.options.auth:
            return redirect("/")
        fields = dict(parse_qsl((await read_body(request, _FORM_BYTES)).decode(errors="replace")))
        key, target = fields.get("key", "").strip(), local_path(fields.get("next", "/"))
        caller = self._services.keys.caller(key)
        if caller is None:
            return self._form(request, target, "This key is unknown or has expired.", 401)
        if "batch" not in caller.rights:
            return self._form(request, target, "This key lacks the right `batch`, so it cannot see jobs.", 403)
        sessions, run = self._services.stores.sessions, self._services.store_threads.run
        session_id = await run(sessions.begin, hash_of(key))
        response = redirect(target)
        set_session(request, response, session_id)
        return response

    async def end(self, _request: Request, visitor: Visitor, _fields: Mapping[str, str]) -> Response:
        """POST /logout: end the session."""
        await self._services.store_threads.run(self._services.stores.sessions.end, visitor.session_id)
        response = redirect("/login")
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def theme(self, request: Request, _visitor: Visitor, fields: Mapping[str, str]) -> Response:
        """POST /theme: use the colours of the system, light or dark ones. Raises `ApiError` for any other wish."""
        wanted = fields.get("theme", "")
        if wanted not in THEMES:
            raise ApiError(400, f"The theme {wanted[:20]!r} is none of {', '.join(THEMES)}.")
        response = redirect(local_path(fields.get("next", "/")))
        is_tls = request.url.scheme == "https"
        response.set_cookie(THEME_COOKIE, wanted, _YEAR_SECONDS, httponly=True, samesite="strict", secure=is_tls)
        return response

    def _form(self, request: Request, target: str, fault: str = "", status: int = 200) -> Response:
        return self._render.page(request, None, "login", {"next": target, "fault": fault}, status)
