"""What holds for the rates of API keys, wherever their buckets are kept."""

from __future__ import annotations

import time
from itertools import count

import pytest
import redis

from jobs.service.rate_limits import Bucket, MemoryRateLimits, RateLimits, RedisRateLimits, Take
from jobs.stores.redis.connection.server import RedisServer

_owners = count()


@pytest.fixture(params=["memory", "redis"])
def limits(request: pytest.FixtureRequest) -> RateLimits:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryRateLimits(time.monotonic)
    return RedisRateLimits(RedisServer(request.getfixturevalue("client")))


def slow_bucket(capacity: int = 5) -> Bucket:
    """A bucket that gains one permit per hour, so no test sees it fill up."""
    return Bucket(f"key-{next(_owners)}", "requests", capacity, capacity * 3600.0)


def test_a_bucket_grants_what_it_has_and_says_what_is_left(limits: RateLimits) -> None:
    bucket = slow_bucket()
    (first,) = limits.take([Take(bucket, 3)])
    assert (first.granted, first.left, first.first_seconds) == (3, 2, 0.0)
    assert first.full_seconds == pytest.approx(3 * 3600, rel=0.01)
    (second,) = limits.take([Take(bucket, 4)])
    assert (second.granted, second.left) == (2, 0)
    assert second.first_seconds == pytest.approx(3600, rel=0.05)
    assert second.full_seconds == pytest.approx(5 * 3600, rel=0.01)


def test_buckets_of_other_keys_and_for_other_things_are_apart(limits: RateLimits) -> None:
    bucket = slow_bucket(1)
    others = [Bucket(bucket.owner, "uploads", 1, 3600.0), slow_bucket(1)]
    assert [taken.granted for taken in limits.take([Take(each, 1) for each in (bucket, *others, bucket)])] == [
        1,
        1,
        1,
        0,
    ]


def test_a_look_takes_nothing(limits: RateLimits) -> None:
    looks = [Take(slow_bucket(), 0)] * 3
    assert [(taken.granted, taken.left) for taken in limits.take(looks)] == [(0, 5)] * 3


def test_a_bucket_may_owe_permits_and_grants_none_until_they_are_repaid(limits: RateLimits) -> None:
    bucket = slow_bucket()
    assert [taken.left for taken in limits.take([Take(bucket, 12, overdraw=True), Take(bucket, 1)])] == [-7, -7]
    (look,) = limits.take([Take(bucket, 0)])
    assert look.first_seconds == pytest.approx(8 * 3600, rel=0.01)


def test_a_bucket_fills_up_by_the_clock(limits: RateLimits) -> None:
    bucket = Bucket(f"key-{next(_owners)}", "requests", 100, 10.0)
    limits.take([Take(bucket, 100)])
    deadline = time.monotonic() + 60
    while limits.take([Take(bucket, 0)])[0].left < 2:
        assert time.monotonic() < deadline
    (taken,) = limits.take([Take(bucket, 1)])
    assert (taken.granted, taken.left < 100) == (1, True)


def test_a_full_bucket_needs_no_memory_in_redis(client: redis.Redis) -> None:
    limits, bucket = RedisRateLimits(RedisServer(client)), slow_bucket()
    limits.take([Take(bucket, 0)])
    key = f"qwen-batch:limit:{bucket.owner}:requests"
    assert client.exists(key) == 0
    limits.take([Take(bucket, 2)])
    assert 0 < client.pttl(key) <= 2 * 3600 * 1000


def test_a_key_that_another_program_uses_refuses_nobody(client: redis.Redis) -> None:
    limits, bucket = RedisRateLimits(RedisServer(client)), slow_bucket()
    client.lpush(f"qwen-batch:limit:{bucket.owner}:requests", "a list")
    assert limits.take([Take(bucket, 1)])[0].granted == 1
