"""The table of pages, and what holds for all of them: sessions, tokens of forms, errors as pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.errors import JobNotFound, QwenBatchError, RecordDamaged
from server.access.caller import set_caller
from server.api.body_checks import read_body
from server.metrics.http_meter import set_route
from server.middleware.api_error import ApiError, api_error_of
from server.pages.fleet import FleetPage
from server.pages.job.actions import JobActions
from server.pages.job.downloads import Downloads
from server.pages.job.lines import LinesPages
from server.pages.job.page import JobPages
from server.pages.job_list import JobListPage
from server.pages.login import LoginPages
from server.pages.recent_parts import RecentParts
from server.pages.rendering import Renderer, redirect, unless_known, wants_part
from server.pages.static_files import StaticFiles
from server.pages.submit import SubmitPages
from server.pages.visitor import Visitor, check_same_origin, check_token, visitor_of
from server.state import Services

_log = logging.getLogger("server.pages")
_FORM_BYTES = 64 * 1024

Fields = Mapping[str, str]
Open = Callable[[Request], Awaitable[Response]]
Shown = Callable[[Request, Visitor], Awaitable[Response]]
Sent = Callable[[Request, Visitor, Fields], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """Handlers of one path."""

    get: Shown | None = None
    post: Sent | None = None  # called after the form has been checked
    upload: Shown | None = None  # a POST that reads and checks its form itself, because it holds a file
    open_get: Open | None = None  # needs no session
    open_post: Open | None = None


def pages(services: Services, render: Renderer, static: StaticFiles) -> Mapping[str, Page]:
    """Return the table of all pages."""
    login, submit = LoginPages(services, render), SubmitPages(services, render)
    job, lines = JobPages(services, render), LinesPages(services, render)
    actions = JobActions(services, render)
    return {
        "/": Page(JobListPage(services, render).show),
        "/jobs/{id}": Page(job.show),
        "/jobs/{id}/errors": Page(job.errors),
        "/jobs/{id}/lines": Page(lines.show),
        "/jobs/{id}/lines/{number:int}": Page(lines.one),
        "/jobs/{id}/download/{what}": Page(Downloads(services).show),
        "/jobs/{id}/delete": Page(actions.confirm_delete, actions.delete),
        "/jobs/{id}/{action}": Page(post=actions.act),
        "/fleet": Page(FleetPage(services, render).show),
        "/submit": Page(submit.show, upload=submit.upload),
        "/login": Page(open_get=login.show, open_post=login.begin),
        "/logout": Page(post=login.end),
        "/theme": Page(post=login.theme),
        "/static/{name:path}": Page(open_get=static.show),
    }


class Pages:
    """Passes requests for a page to the page, and all other requests to `app`.

    An error is a page, too, if a browser asked for something that is no part of the API.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        static = StaticFiles()
        self._app = app
        self._services = services
        self._render = Renderer(static)
        self._parts = RecentParts(services.options.part_seconds)
        table = pages(services, self._render, static)
        self._routes = [(Route(path, _unused), path, page) for path, page in table.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            for route, path, page in self._routes:
                match, found = route.matches({**scope, "method": "GET"})
                if match is Match.FULL:
                    set_route(scope, path)
                    request = Request({**scope, **found}, receive)
                    response = await self._answer(request, page)
                    await response(scope, receive, send)
                    return
        try:
            await self._app(scope, receive, send)
        except ApiError as error:
            if not _is_for_a_person(scope):
                raise
            await self._error(Request(scope, receive), None, error)(scope, receive, send)

    async def _answer(self, request: Request, page: Page) -> Response:
        """Return the answer of a page. An error becomes a page, too."""
        visitor: Visitor | None = None
        try:
            reads = request.method in ("GET", "HEAD")
            if not reads:
                check_same_origin(request)
            opened = page.open_get if reads else page.open_post
            if opened is not None and (reads or request.method == "POST"):
                return await opened(request)
            visitor = await visitor_of(request, self._services)
            if visitor is None:
                return _to_login(request)
            set_caller(request.scope, visitor.caller)
            return await self._handled(request, page, visitor)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug must not show its text to a visitor
            return self._error(request, visitor, _told(request, error))

    async def _handled(self, request: Request, page: Page, visitor: Visitor) -> Response:
        if wants_part(request) and page.get is not None:
            return unless_known(request, await self._parts.get(request, visitor, page.get))
        if request.method in ("GET", "HEAD") and page.get is not None:
            return await page.get(request, visitor)
        if request.method == "POST" and page.upload is not None:
            return await page.upload(request, visitor)
        if request.method == "POST" and page.post is not None:
            fields = dict(parse_qsl((await read_body(request, _FORM_BYTES)).decode(errors="replace")))
            check_token(fields, visitor)
            return await page.post(request, visitor, fields)
        raise ApiError(405, f"This page does not answer to {request.method[:20]}.")

    def _error(self, request: Request, visitor: Visitor | None, error: ApiError) -> Response:
        shown = replace(visitor, is_new=False) if visitor is not None else None
        values = {"status": error.status, "title": HTTPStatus(error.status).phrase, "message": error.message}
        response = self._render.page(request, shown, "error", values, error.status)
        for name, value in error.headers.items():
            response.headers.setdefault(name, value)
        return response


def _is_for_a_person(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["path"].startswith("/v1"):
        return False
    return "text/html" in Request(scope).headers.get("accept", "")


def _told(request: Request, error: Exception) -> ApiError:
    """Return what a visitor is told about an error. The log gets what they are not told."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, JobNotFound):
        return ApiError(404, "This job was deleted while the page was being made.")
    if isinstance(error, RecordDamaged):
        return ApiError(500, error.message)
    answer = ApiError(500, "The server made a mistake. Its log has the details.")
    if isinstance(error, QwenBatchError):
        answer = api_error_of(error)
    if answer.status == 500:
        _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return answer


def _to_login(request: Request) -> Response:
    """Send the visitor to the login, and afterwards back to the page."""
    if wants_part(request):
        raise ApiError(401, "The session is over. Load the page again to log in.")
    if request.method not in ("GET", "HEAD"):
        return redirect("/login")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return redirect(f"/login?next={quote(here, safe='')}")


async def _unused(_request: Request) -> Response:
    raise AssertionError("the routes only match paths")
