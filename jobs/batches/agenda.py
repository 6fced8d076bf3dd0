"""The agenda of the clerk: which files and batches need a look, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from jobs.stores.redis.connection.server import RedisServer


class Entry(NamedTuple):
    """One file or batch of a project."""

    project: str
    id: str

    @classmethod
    def of(cls, text: str) -> Entry:
        """Return the entry that a text names: `PROJECT/ID`."""
        project, _, object_id = text.rpartition("/")
        return cls(project, object_id)

    def __str__(self) -> str:
        """Return the entry as the store has it: `PROJECT/ID`."""
        return f"{self.project}/{self.id}"


class Agenda(Protocol):
    """Entries with times, which all clerks of a store share. Thread-safe."""

    def schedule(self, entry: Entry, at: float) -> None:
        """Make an entry due at a time, in seconds since the epoch. The entry may be on the agenda already."""

    def take(self, limit: int, seconds: float) -> list[Entry]:
        """Take up to `limit` entries that are due. They become due again after `seconds`, in case this clerk dies."""

    def drop(self, entry: Entry) -> None:
        """Remove an entry for good."""


@dataclass(frozen=True)
class WaitingBatches:
    """Batches that wait for a child of the clerk, due by their creation: the oldest comes first."""

    imports: Agenda
    finishes: Agenda


class RedisAgenda:
    """An `Agenda` in Redis. Entries are due by the server's clock.

    Args:
        server: The server.
        key: Key of the sorted set of entries (`jobs.project_keys`).
    """

    def __init__(self, server: RedisServer, key: str) -> None:
        self._server = server
        self._key = key

    def schedule(self, entry: Entry, at: float) -> None:
        self._server.run("ZADD", self._key, at, str(entry))

    def take(self, limit: int, seconds: float) -> list[Entry]:
        taken = self._server.script("take_due", [self._key], limit, seconds)
        return [Entry.of(entry.decode()) for entry in taken]

    def drop(self, entry: Entry) -> None:
        self._server.run("ZREM", self._key, str(entry))


class MemoryAgenda:
    """An `Agenda` in memory, for tests.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[Entry, float] = {}

    def schedule(self, entry: Entry, at: float) -> None:
        with self._lock:
            self._times[entry] = at

    def take(self, limit: int, seconds: float) -> list[Entry]:
        with self._lock:
            now = self._clock()
            due = sorted((at, entry) for entry, at in self._times.items() if at <= now)
            taken = [entry for _, entry in due[:limit]]
            self._times.update(dict.fromkeys(taken, now + seconds))
            return taken

    def drop(self, entry: Entry) -> None:
        with self._lock:
            self._times.pop(entry, None)
