"""The permits that a request takes from the buckets of its API key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.service.rate_limits import Bucket
from server.options import Limits

Unit = Literal["requests", "tokens"]  # OpenAI's word for what a limit counts
ONLINE_PATHS = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/score", "/v1/embeddings", "/v1/rerank"}
)
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Rate:
    """A rate that a request must keep."""

    bucket: Bucket
    unit: Unit
    wanted: int  # permits that the request takes before it runs
    limit: str  # the limit in words


def is_online(method: str, path: str) -> bool:
    """Return whether a request is interactive: its client waits for a worker's answer."""
    return method == "POST" and path in ONLINE_PATHS


def rates_of(key_id: str, limits: Limits, method: str, path: str) -> Sequence[Rate]:
    """Return the rates for a request. The first one that it does not keep refuses it.

    Args:
        key_id: Id of the request's API key.
        limits: Limits of its project.
        method: Method of the request.
        path: Path of the request.
    """

    found = _rate(key_id, "requests", limits.requests_per_minute, _MINUTE)
    if (method, path) == ("POST", "/v1/files"):
        found += upload_rates(key_id, limits)
    elif (method, path) == ("POST", "/v1/batches"):
        found += batch_rates(key_id, limits)
    elif is_online(method, path) and limits.tokens_per_minute is not None:
        bucket = token_bucket(key_id, limits.tokens_per_minute)
        found.append(Rate(bucket, "tokens", 0, f"{limits.tokens_per_minute:,} tokens per minute"))
    return found


def upload_rates(key_id: str, limits: Limits) -> list[Rate]:
    """Return the rates for an upload, whether it comes through the API or a page."""
    return _rate(key_id, "uploads", limits.uploads_per_hour, _HOUR)


def batch_rates(key_id: str, limits: Limits) -> list[Rate]:
    """Return the rates for a new batch, whether it comes through the API or a page."""
    return _rate(key_id, "batches", limits.batches_per_hour, _HOUR)


def _rate(key_id: str, what: str, capacity: int | None, seconds: float) -> list[Rate]:
    """Return the rate of one permit from a bucket, or nothing if there is no limit."""
    if capacity is None:
        return []
    words = f"{capacity:,} {what} per {'minute' if seconds == _MINUTE else 'hour'}"
    return [Rate(Bucket(key_id, what, capacity, seconds), "requests", 1, words)]


def token_bucket(key_id: str, tokens_per_minute: int) -> Bucket:
    """Return the bucket of the tokens of interactive requests. They are taken when they are known: afterwards."""
    return Bucket(key_id, "tokens", tokens_per_minute, _MINUTE)
