"""The first page: all jobs, newest first."""

from __future__ import annotations

from math import isfinite
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from server.middleware.api_error import ApiError
from server.pages.job.book import EntryPage, JobBook, Wanted
from server.pages.job.entry import STATES
from server.pages.rendering import Renderer
from server.pages.visitor import Visitor
from server.state import Services

_MAX_SEARCH = 200  # characters


class JobListPage:
    """Handles /."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._services = services
        self._render = render

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """GET: list jobs. Raises `ApiError` if the query is no query of this page."""
        wanted = _wanted(request)
        book = JobBook(self._services.stores, visitor)

        def read() -> tuple[EntryPage, bool]:
            page = book.page(wanted)
            is_waiting = not page.entries or any(not entry.ended for entry in page.entries)
            return page, is_waiting and not self._services.stores.jobs.fleet.workers()

        key = ("jobs", visitor.project, visitor.sees_own_jobs, wanted)
        page, needs_worker = await self._services.store_threads.shared(key, read)
        query = {"state": wanted.state, "q": wanted.search, "before": page.older}
        values = {
            "entries": page.entries,
            "older": urlencode({name: value for name, value in query.items() if value}) if page.older else "",
            "wanted": wanted,
            "states": STATES,
            "needs_worker": needs_worker,
        }
        return self._render.page(request, visitor, "jobs", values)


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    before, state = query.get("before"), query.get("state", "")
    try:
        moment = None if before is None else float(before)
    except ValueError:
        moment = float("nan")
    if moment is not None and not (isfinite(moment) and 0 <= moment < 2**40):
        raise ApiError(400, f"The address says before={(before or '')[:50]!r}; it must be a time in seconds.")
    if state not in ("", *STATES):
        raise ApiError(400, f"There is no state {state[:50]!r}. States: {', '.join(STATES)}.")
    return Wanted(moment, state, query.get("q", "").strip()[:_MAX_SEARCH])
