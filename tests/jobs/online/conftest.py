"""The exchange of interactive requests, in every implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import redis

from jobs.online import online_keys
from jobs.online.memory_online import MemoryOnline
from jobs.online.online_store import OnlineStore
from jobs.online.redis_online import RedisOnline
from jobs.stores.redis.connection.server import RedisServer
from testing.environment.hand_clock import HandClock


@dataclass(frozen=True)
class Exchange:
    """A store, and a way to let time pass for it."""

    store: OnlineStore
    pass_seconds: Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
def exchange(request: pytest.FixtureRequest) -> Exchange:
    """Each implementation in turn, empty."""
    if request.param == "memory":
        clock = HandClock()
        return Exchange(MemoryOnline(clock), clock.advance)
    client: redis.Redis = request.getfixturevalue("client")
    return Exchange(RedisOnline(RedisServer(client)), lambda seconds: age(client, seconds))


def age(client: redis.Redis, seconds: float) -> None:
    """Bring the ends of all reports nearer, as if time had passed."""
    milliseconds = round(seconds * 1000)
    for worker in client.zrange(online_keys.workers("demo"), 0, -1):
        assert isinstance(worker, bytes)
        client.zincrby(online_keys.workers("demo"), -milliseconds, worker)
    for key in client.scan_iter(online_keys.server("*")):
        client.pexpire(key, max(client.pttl(key) - milliseconds, 0))
