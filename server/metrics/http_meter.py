"""Counts the requests of one HTTP process."""

from __future__ import annotations

import bisect
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

from starlette.types import Scope

from jobs.service.http_report import HttpReport, RouteSeconds
from server.limits.rates import is_online

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # upper bounds of buckets
_ROUTE = "qwen_batch.route"
_NO_ROUTE = "other"  # one label for all unknown paths, because clients could make up any number of them
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"})


def set_route(scope: Scope, path: str) -> None:
    """Note the path of the route that handles a request, such as `/v1/files/{id}`."""
    scope[_ROUTE] = path


class _Times:
    """Times, sorted into buckets."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


class HttpMeter:
    """Counts requests, calls of the store and uploaded bytes. All calls come from the event loop."""

    def __init__(self) -> None:
        self.upload_bytes = 0
        self.loop_delay_seconds = 0.0
        self._server = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._whole: defaultdict[str, _Times] = defaultdict(_Times)
        self._first: defaultdict[str, _Times] = defaultdict(_Times)
        self._store = _Times()

    def add(self, scope: Scope, status: int, seconds: float, first_seconds: float | None = None) -> None:
        """Count an answered request.

        Args:
            scope: The request.
            status: Status of the answer.
            seconds: Time to the end of the answer.
            first_seconds: Time to the first byte of its body. None if there was no body.
        """
        route = scope.get(_ROUTE, _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else _NO_ROUTE
        self._requests[route, method, status] += 1
        self._whole[route].add(seconds)
        if first_seconds is not None and status == 200 and is_online(method, route):
            self._first[route].add(first_seconds)

    def add_store_call(self, seconds: float) -> None:
        """Count a call of the store."""
        self._store.add(seconds)

    def report(self) -> HttpReport:
        """Return the figures so far."""
        return HttpReport(
            self._server,
            self._started_at,
            tuple((*key, count) for key, count in sorted(self._requests.items())),
            _report_of(self._whole),
            self.upload_bytes,
            self.loop_delay_seconds,
            _report_of(self._first),
            (tuple(self._store.counts), self._store.sum),
        )


def _report_of(routes: Mapping[str, _Times]) -> tuple[RouteSeconds, ...]:
    return tuple((route, tuple(times.counts), times.sum) for route, times in sorted(routes.items()))
