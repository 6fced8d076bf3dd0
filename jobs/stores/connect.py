"""From a Redis URL to a store, or to an error that says what to do about it."""

from __future__ import annotations

from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.stores.redis_errors import REPLICA_HINT, address_of
from jobs.stores.redis_server import RedisServer
from jobs.stores.redis_store import RedisJobStore

CONNECT_TIMEOUT_SECONDS = 5.0
REPLY_TIMEOUT_SECONDS = 20.0  # for the largest shard over a slow line
HEALTH_CHECK_SECONDS = 15  # a connection idle for longer is tried before it is used
RETRIES = 3  # after a broken connection, with pauses of 0.05 to 1 s


def connect(url: str) -> RedisJobStore:
    """The store on the server of a `redis://`, `rediss://` or `unix://` URL, which was asked whether it can be one.

    Raises:
        InvalidInput: The URL is not one of these.
        StoreUnavailable: The server cannot be reached, refuses the password, is not Redis, is a read-only replica, or
            would drop keys when its memory is full.
    """
    client = redis_client(url)
    _check_fitness(client)
    return RedisJobStore(client)


def redis_client(url: str) -> redis.Redis:
    """A client with time-outs, keep-alive and retries. Does not connect yet. Raises `InvalidInput`."""
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=REPLY_TIMEOUT_SECONDS,
            socket_keepalive=True,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES),
            decode_responses=False,
        )
    except ValueError as error:
        scheme = urlsplit(url).scheme
        raise InvalidInput(
            f"The Redis URL (scheme {scheme!r}) cannot be read.",
            "It looks like redis://[USER:PASSWORD@]HOST:PORT/DATABASE; rediss:// for TLS, unix:// for a socket.",
        ) from error


def _check_fitness(client: redis.Redis) -> None:
    server = RedisServer(client)
    memory, replication = server.pipeline([("INFO", "memory"), ("INFO", "replication")])
    address = address_of(client)
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory", 0) and policy != "noeviction":
        raise StoreUnavailable(
            f"Redis at {address} drops keys when its memory is full (maxmemory-policy {policy}): results would vanish.",
            "Set it with `redis-cli CONFIG SET maxmemory-policy noeviction`, and in its configuration file.",
        )
    if replication.get("role") == "slave" and replication.get("slave_read_only", 1):
        raise StoreUnavailable(f"Redis at {address} is a read-only replica.", REPLICA_HINT)
