"""What holds for sessions, wherever they are kept."""

from __future__ import annotations

import pytest
import redis

from jobs.service.sessions import LIFE_SECONDS, MemorySessions, RedisSessions, Sessions
from jobs.stores.redis.connection.server import RedisServer


@pytest.fixture(params=["memory", "redis"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    """Each implementation in turn, empty."""
    if request.param == "memory":
        return MemorySessions()
    client: redis.Redis = request.getfixturevalue("client")
    return RedisSessions(RedisServer(client))


def test_a_session_has_its_key_until_it_ends(sessions: Sessions) -> None:
    first, second = sessions.begin("hash-1"), sessions.begin("hash-1")
    assert first != second
    assert sessions.key_hash(first) == "hash-1"
    sessions.end(first)
    assert (sessions.key_hash(first), sessions.key_hash(second)) == (None, "hash-1")
    assert sessions.key_hash("unknown") is None
    sessions.end("unknown")


def test_the_store_keeps_only_the_hash_of_a_session_and_forgets_it_after_twelve_hours(client: redis.Redis) -> None:
    session_id = RedisSessions(RedisServer(client)).begin("hash-1")
    (key,) = client.scan_iter("qwen-batch:session:*")
    assert session_id not in key.decode()
    assert LIFE_SECONDS - 3600 < client.ttl(key) <= LIFE_SECONDS
    assert LIFE_SECONDS == 12 * 3600
