"""What a request takes from the buckets of its API key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.service.rate_limits import Bucket
from server.options import Limits

Unit = Literal["requests", "tokens"]  # OpenAI's word for what a limit counts
ONLINE_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Rate:
    """A rate that a request must keep."""

    bucket: Bucket
    unit: Unit
    wanted: int  # permits that the request takes before it runs
    limit: str  # the limit in words


def is_online(method: str, path: str) -> bool:
    """Return whether a request is interactive: a worker answers it at once."""
    return method == "POST" and path in ONLINE_PATHS


def rates_of(key_id: str, limits: Limits, method: str, path: str) -> Sequence[Rate]:
    """Return the rates for a request. The first one that it does not keep refuses it.

    Args:
        key_id: Id of the request's API key.
        limits: Limits of its project.
        method: Method of the request.
        path: Path of the request.
    """

    def rate(what: str, capacity: int | None, seconds: float, words: str) -> list[Rate]:
        if capacity is None:
            return []
        return [Rate(Bucket(key_id, what, capacity, seconds), "requests", 1, f"{capacity:,} {words}")]

    found = rate("requests", limits.requests_per_minute, _MINUTE, "requests per minute")
    if (method, path) == ("POST", "/v1/files"):
        found += rate("uploads", limits.uploads_per_hour, _HOUR, "uploads per hour")
    elif (method, path) == ("POST", "/v1/batches"):
        found += rate("batches", limits.batches_per_hour, _HOUR, "batches per hour")
    elif is_online(method, path) and limits.tokens_per_minute is not None:
        bucket = token_bucket(key_id, limits.tokens_per_minute)
        found.append(Rate(bucket, "tokens", 0, f"{limits.tokens_per_minute:,} tokens per minute"))
    return found


def token_bucket(key_id: str, tokens_per_minute: int) -> Bucket:
    """Return the bucket of the tokens of interactive requests. They are taken when they are known: afterwards."""
    return Bucket(key_id, "tokens", tokens_per_minute, _MINUTE)
