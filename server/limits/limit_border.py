"""The border that keeps each API key within its limits."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.errors import StoreFull, StoreUnavailable
from jobs.service.rate_limits import Bucket, RateLimits, Take, Taken
from server.access.caller import Caller, caller_of
from server.borders.api_error import ApiError, retry_later
from server.gathered import Gathered
from server.in_threads import InThreads
from server.limits.rate_headers import set_rate_headers
from server.limits.rates import Rate, Unit, rates_of, token_bucket
from server.limits.token_count import counted_tokens
from server.options import Limits

_MAX_RETRY_SECONDS = 60.0  # clients do not come back after more than two minutes
_PATHS = "/v1/"


class LimitBorder:
    """Refuses a request that is beyond a limit of its API key: at once, per minute or per hour.

    Rates hold over all processes. The limits of requests at once hold for each HTTP process.

    Args:
        app: The application behind the border.
        buckets: The buckets of all keys.
        threads: Where calls of the store run.
        limits_of: Returns the limits of a project.
    """

    def __init__(
        self, app: ASGIApp, buckets: RateLimits, threads: InThreads, limits_of: Callable[[str], Limits]
    ) -> None:
        self._app = app
        self._limits_of = limits_of
        self._takes: Gathered[Take, Taken] = Gathered(threads, lambda takes: _shared_out(buckets, takes))
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
            await self._check_rates(scope, rates_of(caller.key_id, limits, scope["method"], scope["path"]))
            try:
                await self._app(scope, receive, send)
            finally:
                self._charge(caller, limits, counted_tokens(scope))

    @contextmanager
    def _at_once(self, caller: Caller, most: int | None) -> Iterator[None]:
        """Count a request for the `with` block. `most` None means no limit."""
        key = caller.key_id
        if most is not None and self._running[key] >= most:
            raise refusal(f"{most:,} requests at once", "requests", 1.0)
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if self._running[key] == 0:
                del self._running[key]

    async def _check_rates(self, scope: Scope, rates: Sequence[Rate]) -> None:
        for rate in rates:
            with suppress(StoreFull):  # a store that refuses writes can still be read
                taken = await self._takes.get(Take(rate.bucket, rate.wanted))
                set_rate_headers(scope, rate, taken)
                if taken.granted < rate.wanted or taken.left + taken.granted <= 0:
                    raise refusal(rate.limit, rate.unit, taken.first_seconds)

    def _charge(self, caller: Caller, limits: Limits, tokens: int) -> None:
        """Take the tokens of an answered request, however many they are, without making the client wait."""
        if limits.tokens_per_minute is None or tokens <= 0:
            return
        take = Take(token_bucket(caller.key_id, limits.tokens_per_minute), tokens, overdraw=True)

        async def charge() -> None:
            with suppress(StoreUnavailable, StoreFull):
                await self._takes.get(take)

        task = asyncio.ensure_future(charge())
        self._charges.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._charges.discard)


def refusal(limit: str, unit: Unit, seconds: float) -> ApiError:
    """Return the error for a request beyond a limit.

    Args:
        limit: The limit in words.
        unit: What the limit counts.
        seconds: Time until the request may succeed.
    """
    wait = min(max(seconds, 0.001), _MAX_RETRY_SECONDS)
    error = retry_later(
        429,
        f"Rate limit reached: an API key of this project may have {limit}. Try again in {wait:.3g} s.",
        "rate_limit_exceeded",
        math.ceil(wait),
        unit,
    )
    error.headers["retry-after-ms"] = str(math.ceil(wait * 1000))
    return error


def _shared_out(buckets: RateLimits, takes: Sequence[Take]) -> list[Taken]:
    """Take what several requests want by one take per bucket, and share the permits out in the order of requests."""
    sums: dict[tuple[Bucket, bool], int] = {}
    for take in takes:
        sums[take.bucket, take.overdraw] = sums.get((take.bucket, take.overdraw), 0) + take.wanted
    together = [Take(bucket, wanted, overdraw) for (bucket, overdraw), wanted in sums.items()]
    taken = dict(zip(sums, buckets.take(together), strict=True))
    shares: list[Taken] = []
    for take in takes:
        place = (take.bucket, take.overdraw)
        rest = taken[place]
        share = min(take.wanted, rest.granted)
        taken[place] = replace(rest, granted=rest.granted - share)
        shares.append(replace(rest, granted=share, left=rest.left + rest.granted - share))
    return shares
