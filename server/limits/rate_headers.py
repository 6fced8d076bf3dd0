"""The headers that tell a client how far it is from its limits."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from jobs.service.rate_limits import Taken
from server.limits.rates import Rate

_KEY = "qwen_batch.rate_headers"


def set_rate_headers(scope: Scope, rate: Rate, taken: Taken) -> None:
    """Note the state of a rate. Of several rates with one unit, the answer shows the first."""
    headers: dict[str, str] = scope.setdefault(_KEY, {})
    headers.setdefault(f"x-ratelimit-limit-{rate.unit}", str(rate.bucket.capacity))
    headers.setdefault(f"x-ratelimit-remaining-{rate.unit}", str(max(taken.left, 0)))
    headers.setdefault(f"x-ratelimit-reset-{rate.unit}", duration(taken.full_seconds))


def rate_headers(scope: Scope) -> Mapping[str, str]:
    """Return the headers for the answer to a request."""
    headers: Mapping[str, str] = scope.get(_KEY, {})
    return headers


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it, such as `17ms`, `1.5s` and `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
