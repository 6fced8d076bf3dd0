"""Connect to the store at a Redis URL, or raise an error that says what to do."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from jobs import keys
from jobs.errors import InvalidInput, OtherFormat, StoreUnavailable
from jobs.stores.redis.connection.errors import REPLICA_HINT, address_of
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.connection.url import bad_url, check_url
from jobs.stores.redis.store import RedisJobStore

TIMEOUT_SECONDS = 5.0  # for each connection attempt, and for the replies to the first checks
REPLY_TIMEOUT_SECONDS = 20.0  # for every later reply: the largest shard must fit through a slow network
HEALTH_CHECK_SECONDS = 15  # redis-py tests a connection that was idle for longer before using it
RETRIES = 3  # after a broken connection; each pause is twice as long as the one before
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")  # URL parameters that name a file
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


def connect(
    url: str,
    wait_seconds: float = 0.0,
    *,
    reply_timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> RedisJobStore:
    """Return the store at a URL. `connect_server` describes the arguments and the errors."""
    server = connect_server(url, wait_seconds, reply_timeout_seconds=reply_timeout_seconds, retries=retries)
    return RedisJobStore(server)


def connect_server(
    url: str,
    wait_seconds: float = 0.0,
    *,
    reply_timeout_seconds: float = REPLY_TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> RedisServer:
    """Return the server at a `redis://`, `rediss://` or `unix://` URL, after checking that it is suitable.

    Args:
        url: Address of the server, with user and password.
        wait_seconds: Time to wait for a server that cannot be reached yet.
        reply_timeout_seconds: Time that a call waits for its reply.
        retries: Number of times that a call is repeated when its connection breaks or its reply does not come.

    Raises:
        InvalidInput: The URL has another form, or names a file that cannot be read.
        StoreUnavailable: The server cannot be reached, refuses the password or is not Redis. Also raised if the server
            is a read-only replica, or would drop keys when its memory is full.
        OtherFormat: A version of qwen-batch with another format uses the store.
    """
    deadline = time.monotonic() + wait_seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            _check_fitness(url)
            return RedisServer(redis_client(url, reply_timeout_seconds, retries))
        except StoreUnavailable:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def redis_client(url: str, reply_timeout_seconds: float = REPLY_TIMEOUT_SECONDS, retries: int = RETRIES) -> redis.Redis:
    """Return a client with time-outs, keep-alive and retries. It is not connected yet. Raises `InvalidInput`."""
    backoff = ExponentialBackoff(cap=LONGEST_PAUSE_SECONDS, base=FIRST_PAUSE_SECONDS)
    return _client(url, reply_timeout_seconds=reply_timeout_seconds, retry=Retry(backoff, retries))


def _client(url: str, *, reply_timeout_seconds: float, retry: Retry) -> redis.Redis:
    check_url(url)
    tcp_only: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=reply_timeout_seconds,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=retry,
            decode_responses=False,
            **tcp_only,
        )
    except ValueError as error:
        raise bad_url("one of its options has an invalid value") from error
    for name in TLS_FILES:
        path = client.get_connection_kwargs().get(name)
        if path is not None and not os.access(path, os.R_OK):
            raise InvalidInput(
                f"`{name}` of the Redis URL names {path}, which cannot be read.", "Check the path and its permissions."
            )
    return client


def _check_fitness(url: str) -> None:
    # No retries, so that the user sees the first error at once.
    with _client(url, reply_timeout_seconds=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)) as client:
        questions = [("INFO", "memory"), ("INFO", "replication"), ("GET", keys.FORMAT)]
        memory, replication, wire_format = RedisServer(client).pipeline(questions)
        address = address_of(client)
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory", 0) and policy != "noeviction":
        raise StoreUnavailable(
            f"Redis at {address} drops keys when its memory is full (maxmemory-policy {policy}): results would vanish.",
            "Set the policy with `redis-cli CONFIG SET maxmemory-policy noeviction`, and in the server's "
            "configuration file.",
        )
    if replication.get("role") == "slave" and replication.get("slave_read_only", 1):
        raise StoreUnavailable(f"Redis at {address} is a read-only replica.", REPLICA_HINT)
    if wire_format not in (None, str(keys.WIRE_FORMAT).encode()):
        found = f"format {int(wire_format)}" if wire_format.isdigit() else "an unknown format"
        raise OtherFormat(
            f"The store at {address} has {found}; this version of qwen-batch has format {keys.WIRE_FORMAT}.",
            "Use the version that its workers have, or name another database, such as redis://HOST:PORT/1.",
        )
