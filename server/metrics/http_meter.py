"""Counts the requests of one HTTP process."""

from __future__ import annotations

import bisect
import os
import socket
import time
from collections import Counter

from starlette.types import Scope

from jobs.http_report import HttpReport

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # upper bounds of buckets
_ROUTE = "qwen_batch.route"
_NO_ROUTE = "other"  # one label for all unknown paths, because clients could make up any number of them
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"})


def set_route(scope: Scope, path: str) -> None:
    """Note the path of the route that handles a request, such as `/v1/files/{id}`."""
    scope[_ROUTE] = path


class HttpMeter:
    """Counts requests and uploaded bytes. All calls come from the event loop."""

    def __init__(self) -> None:
        self.upload_bytes = 0
        self.loop_delay_seconds = 0.0
        self._server = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request."""
        route = scope.get(_ROUTE, _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else _NO_ROUTE
        self._requests[route, method, status] += 1
        counts = self._counts.setdefault(route, [0] * (len(SECONDS) + 1))
        counts[bisect.bisect_left(SECONDS, seconds)] += 1
        self._sums[route] = self._sums.get(route, 0.0) + seconds

    def report(self) -> HttpReport:
        """Return the figures so far."""
        return HttpReport(
            self._server,
            self._started_at,
            tuple((*key, count) for key, count in sorted(self._requests.items())),
            tuple((route, tuple(counts), self._sums[route]) for route, counts in sorted(self._counts.items())),
            self.upload_bytes,
            self.loop_delay_seconds,
        )
