"""Keep the live parts of pages for a moment, so that many tabs with one page cost hardly more than one tab."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from server.pages.visitor import Visitor


@dataclass(frozen=True)
class _Part:
    """A part that is ready, or that is being made."""

    began_at: float  # monotonic seconds
    made: asyncio.Future[Response]


class RecentParts:
    """The newest live parts of all pages. A visitor gets parts that were made for the same session.

    Args:
        max_age_seconds: Max time since the making of a part began. It is shorter than the time between two requests of
            a tab, so that each answer is newer than the one before.
    """

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._parts: dict[tuple[str, str, str], _Part] = {}

    async def get(
        self, request: Request, visitor: Visitor, make: Callable[[Request, Visitor], Awaitable[Response]]
    ) -> Response:
        """Return a part of a page. Requests for the same part share it. Raises what `make` raises."""
        if visitor.is_new:  # the answer sets a cookie
            return await make(request, visitor)
        now = time.monotonic()
        key = (visitor.session_id, request.url.path, request.url.query)
        part = self._parts.get(key)
        if part is None or now - part.began_at >= self._max_age_seconds:
            self._parts = {each: known for each, known in self._parts.items() if self._is_recent(known, now)}
            part = _Part(now, asyncio.ensure_future(make(request, visitor)))
            self._parts[key] = part
        try:
            return await asyncio.shield(part.made)  # whoever asked first may leave, and the others still wait
        except Exception:
            if self._parts.get(key) is part:
                del self._parts[key]
            raise

    def _is_recent(self, part: _Part, now: float) -> bool:
        return now - part.began_at < self._max_age_seconds
