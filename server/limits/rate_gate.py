"""Takes what requests want from the buckets of their API keys, and refuses a request that gets too little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from starlette.types import Scope

from jobs.errors import StoreFull
from jobs.service.rate_limits import Bucket, RateLimits, Take, Taken
from server.gathered import Gathered
from server.in_threads import InThreads
from server.limits.rate_headers import set_rate_headers
from server.limits.rates import Rate, Unit
from server.middleware.api_error import ApiError, retry_later

_MAX_RETRY_SECONDS = 60.0  # clients do not come back after more than two minutes


class RateGate:
    """The buckets of all API keys. Requests that come at the same time share a call of the store.

    Args:
        buckets: The buckets.
        threads: Where calls of the store run.
    """

    def __init__(self, buckets: RateLimits, threads: InThreads) -> None:
        self._takes: Gathered[Take, Taken] = Gathered(threads, lambda takes: _shared_out(buckets, takes))

    async def check(self, scope: Scope, rates: Sequence[Rate]) -> None:
        """Take what a request needs, and note the headers of its answer.

        A store that refuses writes lets every request pass. Raises `ApiError` for the first rate that is not kept.
        """
        for rate in rates:
            with suppress(StoreFull):  # a store that refuses writes can still be read
                taken = await self._takes.get(Take(rate.bucket, rate.wanted))
                set_rate_headers(scope, rate, taken)
                if taken.granted < rate.wanted or taken.left + taken.granted <= 0:
                    raise refusal(rate.limit, rate.unit, taken.first_seconds)

    async def charge(self, bucket: Bucket, count: int) -> None:
        """Take permits that have been used already, however many the bucket has.

        Raises:
            StoreUnavailable: The store does not answer.
            StoreFull: The store refuses changes.
        """
        await self._takes.get(Take(bucket, count, overdraw=True))


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
