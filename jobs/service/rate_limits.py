"""Rates per API key. The buckets are in Redis, so that a rate holds for all HTTP processes of all hosts together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from threading import Lock
from typing import Protocol

from jobs.errors import RecordDamaged
from jobs.keys import PREFIX
from jobs.stores.redis.connection.server import RedisServer


@dataclass(frozen=True)
class Bucket:
    """A number of permits that a bucket holds at most. It fills up from empty in `seconds`."""

    owner: str  # id of an API key
    what: str  # what a permit allows, such as `requests`
    capacity: int
    seconds: float


@dataclass(frozen=True)
class Take:
    """Permits that somebody wants from a bucket."""

    bucket: Bucket
    wanted: int
    overdraw: bool = False  # True: the bucket grants all, and may owe permits afterwards


@dataclass(frozen=True)
class Taken:
    """The permits that a bucket has granted, and its state afterwards."""

    granted: int
    left: int  # below 0 if the bucket owes permits
    first_seconds: float  # until the bucket has a permit
    full_seconds: float  # until the bucket is full


class RateLimits(Protocol):
    """The buckets of all API keys. Thread-safe."""

    def take(self, takes: Sequence[Take]) -> list[Taken]:
        """Take permits from several buckets. A bucket grants as many as are wanted, or as many as it has.

        Raises `StoreUnavailable` and `StoreFull`.
        """


class RedisRateLimits:
    """Implements `RateLimits`. A bucket is a key that expires when the bucket is full; see `take_permits.lua`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def take(self, takes: Sequence[Take]) -> list[Taken]:
        """Take permits from several buckets."""
        replies = self._server.scripts(
            "take_permits",
            [
                (
                    [_key(take.bucket)],
                    [take.bucket.capacity, take.bucket.seconds * 1000, take.wanted, int(take.overdraw)],
                )
                for take in takes
            ],
        )
        return [_taken(take, reply) for take, reply in zip(takes, replies, strict=True)]


class MemoryRateLimits:
    """Implements `RateLimits` in memory, for tests. It also states the rules plainly.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._full_at: dict[Bucket, float] = {}

    def take(self, takes: Sequence[Take]) -> list[Taken]:
        """Take permits from several buckets."""
        with self._lock:
            return [self._take(take.bucket, take.wanted, take.overdraw) for take in takes]

    def _take(self, bucket: Bucket, wanted: int, overdraw: bool) -> Taken:
        now, interval = self._clock(), bucket.seconds / bucket.capacity
        missing = max(self._full_at.get(bucket, now) - now, 0.0) / interval  # permits until the bucket is full
        held = floor(bucket.capacity - missing + 1e-6)
        granted = wanted if overdraw else max(min(wanted, held), 0)
        missing += granted
        self._full_at[bucket] = now + missing * interval
        first_seconds = max(missing - bucket.capacity + 1, 0.0) * interval
        return Taken(granted, held - granted, first_seconds, missing * interval)


def _taken(take: Take, reply: list[int] | RecordDamaged) -> Taken:
    if isinstance(reply, RecordDamaged):  # another program uses the key; that is no reason to refuse everybody
        return Taken(take.wanted, take.bucket.capacity, 0.0, 0.0)
    granted, left, first_ms, full_ms = reply
    return Taken(granted, left, first_ms / 1000, full_ms / 1000)


def _key(bucket: Bucket) -> str:
    return f"{PREFIX}limit:{bucket.owner}:{bucket.what}"
