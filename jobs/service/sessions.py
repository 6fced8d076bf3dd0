"""Sessions of browsers: who has logged in to the pages of the HTTP service.

Only the hash of a session's id is stored, so whoever reads the store cannot use a session.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Protocol

from jobs.keys import PREFIX
from jobs.stores.redis.connection.server import RedisServer

LIFE_SECONDS = 12 * 3600


class Sessions(Protocol):
    """The sessions of all HTTP processes. Thread-safe. Every method raises `StoreUnavailable`."""

    def begin(self, key_hash: str) -> str:
        """Begin a session of the API key with this hash, and return the session's id. Also raises `StoreFull`."""

    def key_hash(self, session_id: str) -> str | None:
        """Return the hash of a session's API key, or None if there is no such session or it is over."""

    def end(self, session_id: str) -> None:
        """End a session, if it exists."""


class RedisSessions:
    """Implements `Sessions`. A session is a string, the hash of its API key, which expires by itself."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def begin(self, key_hash: str) -> str:
        """Begin a session."""
        session_id = new_session_id()
        self._server.run("SET", _key(session_id), key_hash, "EX", LIFE_SECONDS)
        return session_id

    def key_hash(self, session_id: str) -> str | None:
        """Return the hash of a session's API key."""
        value = self._server.run("GET", _key(session_id))
        return None if value is None else str(value.decode(errors="replace"))

    def end(self, session_id: str) -> None:
        """End a session."""
        self._server.run("DEL", _key(session_id))


class MemorySessions:
    """Implements `Sessions` in memory, for tests. Sessions do not end by themselves."""

    def __init__(self) -> None:
        self._hashes: dict[str, str] = {}

    def begin(self, key_hash: str) -> str:
        """Begin a session."""
        session_id = new_session_id()
        self._hashes[session_id] = key_hash
        return session_id

    def key_hash(self, session_id: str) -> str | None:
        """Return the hash of a session's API key."""
        return self._hashes.get(session_id)

    def end(self, session_id: str) -> None:
        """End a session."""
        self._hashes.pop(session_id, None)


def new_session_id() -> str:
    """Return a random id that nobody can guess."""
    return secrets.token_urlsafe(32)


def _key(session_id: str) -> str:
    return f"{PREFIX}session:{hashlib.sha256(session_id.encode()).hexdigest()}"
