"""Translate errors of Redis and the network into errors that say what to do. They never contain a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from jobs.errors import QwenBatchError, StoreFull, StoreUnavailable

START_HINT = (
    "Start a server with `redis-server` or `docker compose up redis`, "
    "or name another one with --redis-url or QWEN_BATCH_REDIS_URL."
)
PASSWORD_HINT = "Put user and password into the URL: redis://USER:PASSWORD@HOST:PORT/0."  # noqa: S105 - an example
POLICY_HINT = "Give the server more memory, or delete jobs with `qwen-batch delete JOB`."
DISK_HINT = "Free space on the server's disk. The server accepts writes again as soon as it can save."
TYPE_HINT = (
    "Another program uses the same keys. Name another database, such as redis://HOST:PORT/1, or remove the key. "
    "`redis-cli --scan --pattern 'qwen-batch*'` lists the keys, and `redis-cli TYPE KEY` shows a key's type."
)
REPLICA_HINT = "Use the address of the primary."
AUTHORITY_HINT = (
    "Name the file of the authority that signed the certificate in the URL: "
    "rediss://HOST:PORT/0?ssl_ca_certs=/path/to/ca.pem. "
    "The certificate must name the host of the URL."
)

UNBLOCKED = "UNBLOCKED"  # start of the error that a blocked client gets when its server becomes a replica

# Text in an exception, in its type's name or in its causes -> the reason that the user reads.
_REASONS = {
    "refused": "refused the connection",
    "unreachable": "cannot be reached: this machine has no route to its network",
    "No route to host": "cannot be reached: there is no such host, or its link is down",
    "SSL": "failed the TLS handshake: does it expect rediss://?",
    "gaierror": "has a host name that does not resolve",
    "FileNotFoundError": "has a socket path that does not exist",
    "Timeout": "does not answer in time",
    "timed out": "does not answer in time",
}


def address_of(client: redis.Redis) -> str:
    """Return the address of a client's server: `host:port`, or the path of a Unix socket."""
    return _address(client.get_connection_kwargs())


def address_of_url(url: str) -> str:
    """Return the address in a Redis URL: `host:port`, or the path of a Unix socket."""
    options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    return _address(options)


@contextmanager
def translated_errors(client: redis.Redis) -> Iterator[None]:
    """Raise `StoreUnavailable` or `StoreFull` in place of redis-py's errors.

    An error that only a bug of qwen-batch can cause, such as a script that fails, passes unchanged.
    """
    try:
        yield
    except RedisError as error:
        known = translated(error, address_of(client))
        if known is None:
            raise
        raise known from error


def translated(error: RedisError, address: str) -> QwenBatchError | None:  # noqa: C901 - a table of cases
    """Return the error for users, or None for an error that only a bug of qwen-batch can cause."""
    text = str(error)
    kind: QwenBatchError | None = None
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
        kind = StoreFull(f"Redis at {address} has reached its memory limit and refuses writes.", POLICY_HINT)
    elif isinstance(error, ReadOnlyError) or "READONLY" in text or text.startswith(UNBLOCKED):
        kind = StoreUnavailable(f"Redis at {address} is a read-only replica.", REPLICA_HINT)
    elif _refuses_user(error, text):
        kind = StoreUnavailable(f"Redis at {address} refuses the user or the password.", PASSWORD_HINT)
    elif isinstance(error, NoPermissionError):
        kind = StoreUnavailable(
            f"Redis at {address} does not give this user the permissions that the store needs.", PASSWORD_HINT
        )
    elif isinstance(error, BusyLoadingError):
        kind = StoreUnavailable(f"Redis at {address} is still loading its data.", "Try again in a moment.")
    elif isinstance(error, InvalidResponse) or text.startswith("Protocol Error"):
        kind = StoreUnavailable(f"The server at {address} does not speak the Redis protocol.", START_HINT)
    elif "CERTIFICATE_VERIFY_FAILED" in _story(error):
        kind = StoreUnavailable(f"Redis at {address} shows a TLS certificate that cannot be verified.", AUTHORITY_HINT)
    elif isinstance(error, redis.ConnectionError | redis.TimeoutError):
        kind = StoreUnavailable(_sentence(f"Redis at {address} {_why_unreachable(error)}"), START_HINT)
    elif text.startswith("DB index"):
        kind = StoreUnavailable(f"Redis at {address} has no database of that number.", "Databases are numbered from 0.")
    elif "MISCONF" in text:
        why = text.partition("MISCONF ")[2].partition(". ")[0].rstrip(".")
        kind = StoreFull(f"Redis at {address} cannot save its data and refuses writes: {why}.", DISK_HINT)
    elif "WRONGTYPE" in text:
        kind = StoreUnavailable(f"Redis at {address} holds a value of another type {_where(text)}.", TYPE_HINT)
    elif any(word in text for word in ("MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")):
        kind = StoreUnavailable(f"Redis at {address} refuses writes: {text}", "See the server's log.")
    return kind


def _address(options: dict[str, Any]) -> str:
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def _where(text: str) -> str:
    """Say which key has a wrong type, if the error of a pipeline names it."""
    named = re.search(r"\bqwen-batch\S*[^\s)]|\b_kombu\S*[^\s)]", text)
    return f"at the key {named[0]}" if named else "at one of the store's keys"


def _refuses_user(error: RedisError, text: str) -> bool:
    kinds = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError)
    return isinstance(error, kinds) or "NOAUTH" in text or "WRONGPASS" in text


def _why_unreachable(error: BaseException) -> str:
    text = _story(error)
    for sign, why in _REASONS.items():
        if sign in text:
            return why
    return "closed the connection; is it a Redis server, and does it expect redis:// or rediss://?"


def _story(error: BaseException) -> str:
    """Join the types and texts of an error and its causes."""
    return " ".join(f"{type(cause).__name__} {cause}" for cause in _chain(error))


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # causes may form a circle
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
