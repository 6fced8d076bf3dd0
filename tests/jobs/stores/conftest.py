"""The store under test, in every implementation, and the means to let time pass on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import redis

from jobs.keys import JobKeys
from jobs.records.job import Lease
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.environment.hand_clock import HandClock


@dataclass
class StoreUnderTest:
    """A store, and its clock as a test moves it."""

    store: JobStore
    ttl_seconds: float  # of leases that are to expire: long enough for the test's next steps on a busy machine
    let_pass: Callable[[float], None]  # makes the store take what it holds for so many seconds older, at once
    now: Callable[[], float]
    pass_deadline: Callable[[str], None]  # of a job that is there, at once, whether it had one or not
    expire: Callable[[Lease], None]  # at once, if it is still held


def memory_under_test() -> StoreUnderTest:
    """A new memory store with a clock that stands still until it is moved."""
    clock = HandClock()
    store = MemoryJobStore(clock)

    def pass_deadline(job_id: str) -> None:
        store.table.get(job_id).deadline_at = clock()

    def expire(lease: Lease) -> None:
        shard = store.table.get(lease.shard.job_id).shards[lease.shard.index]
        if shard.lease == lease:
            shard.expires_at = clock()

    return StoreUnderTest(store, 10.0, clock.advance, clock, pass_deadline, expire)


# Moves every moment in the database back. Its server's clock cannot be moved, and a test that waited for it would need
# leases of milliseconds, which a busy machine lets expire too early.
MAKE_OLDER = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left, kind = redis.call('PTTL', key), redis.call('TYPE', key).ok
  if left > 0 then
    redis.call('PEXPIRE', key, left - ARGV[1])
  end
  if kind == 'zset' and key:find(':leases$') then
    for _, index in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, -ARGV[1], index)
    end
  elseif key:find(':history$') then
    local fields, span_seconds = redis.call('HGETALL', key), redis.call('HGET', key, 'span_seconds')
    redis.call('DEL', key)
    for i = 1, #fields, 2 do
      local span = tonumber(fields[i])
      redis.call('HSET', key, span and span - math.floor(ARGV[1] / 1000 / span_seconds) or fields[i], fields[i + 1])
    end
  elseif kind == 'hash' then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if field:find('_at_ms$') or field:find('_since_ms$') or field:find('_until_ms$') or field == 'deadline_ms' then
        redis.call('HINCRBY', key, field, -ARGV[1])
      end
    end
  end
end
"""


def redis_under_test(client: redis.Redis) -> StoreUnderTest:
    """The store in a real server."""

    def now() -> float:
        seconds, microseconds = client.time()
        return float(seconds) + float(microseconds) / 1e6

    def let_pass(seconds: float) -> None:
        client.eval(MAKE_OLDER, 0, round(seconds * 1000))
        until = now() + 0.002  # jobs take turns by the server's own milliseconds
        while now() < until:
            time.sleep(0.001)

    def pass_deadline(job_id: str) -> None:
        client.hset(JobKeys(job_id).meta, "deadline_ms", int(now() * 1000) - 1)

    def expire(lease: Lease) -> None:
        keys, index = JobKeys(lease.shard.job_id), lease.shard.index
        if client.hget(keys.shard(index), "held") == str(lease.token).encode():
            client.zadd(keys.leases, {str(index): int(now() * 1000) - 1}, xx=True)

    return StoreUnderTest(RedisJobStore(RedisServer(client)), 10.0, let_pass, now, pass_deadline, expire)


@pytest.fixture(params=["memory", "redis"])
def under_test(request: pytest.FixtureRequest) -> StoreUnderTest:
    """Each implementation in turn."""
    if request.param == "memory":
        return memory_under_test()
    return redis_under_test(request.getfixturevalue("client"))


@pytest.fixture
def store(under_test: StoreUnderTest) -> JobStore:
    """Each implementation in turn, for tests in which no lease has to expire."""
    return under_test.store
