"""Middleware that keeps each API key within its limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.errors import StoreFull, StoreUnavailable
from server.access.caller import Caller, caller_of
from server.limits.rate_gate import RateGate, refusal
from server.limits.rates import rates_of, token_bucket
from server.limits.token_count import counted_tokens
from server.options import Limits

_PATHS = "/v1/"


class LimitMiddleware:
    """Refuses a request that is beyond a limit of its API key: at once, per minute or per hour.

    Rates hold over all processes. The limits of requests at once hold for each HTTP process.

    Args:
        app: The application behind this middleware.
        gate: Has the buckets of all keys.
        limits_of: Returns the limits of a project.
    """

    def __init__(self, app: ASGIApp, gate: RateGate, limits_of: Callable[[str], Limits]) -> None:
        self._app = app
        self._gate = gate
        self._limits_of = limits_of
        self._running: Counter[str] = Counter()  # by the id of the key
        self._charges: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise `ApiError`."""
        if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        limits = self._limits_of(caller.project)
        with self._at_once(caller, limits.requests_at_once):
            await self._gate.check(scope, rates_of(caller.key_id, limits, scope["method"], scope["path"]))
            try:
                await self._app(scope, receive, send)
            finally:
                self._charge(caller, limits, counted_tokens(scope))

    @contextmanager
    def _at_once(self, caller: Caller, max_requests: int | None) -> Iterator[None]:
        """Count a request for the `with` block. `max_requests` None means no limit."""
        key = caller.key_id
        if max_requests is not None and self._running[key] >= max_requests:
            raise refusal(f"{max_requests:,} requests at once", "requests", 1.0)
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if self._running[key] == 0:
                del self._running[key]

    def _charge(self, caller: Caller, limits: Limits, tokens: int) -> None:
        """Take the tokens of an answered request, however many they are, without making the client wait."""
        if limits.tokens_per_minute is None or tokens <= 0:
            return
        bucket = token_bucket(caller.key_id, limits.tokens_per_minute)

        async def charge() -> None:
            with suppress(StoreUnavailable, StoreFull):
                await self._gate.charge(bucket, tokens)

        task = asyncio.ensure_future(charge())
        self._charges.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._charges.discard)
