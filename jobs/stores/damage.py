"""Records of the store that cannot be read: an error of its own, and a list of those that were skipped."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import msgspec
import zstandard

from jobs.errors import RecordDamaged

MAX_KNOWN = 1_000  # records that are remembered: whoever fills a store with damaged ones fills no memory here
MAX_NAMED = 5  # records that one piece of news names; the others are counted

# What decoding and arithmetic raise for a value that none of our versions can have written.
_SIGNS = (msgspec.MsgspecError, zstandard.ZstdError, ValueError, KeyError, ArithmeticError)


@contextmanager
def reading(key: str, hint: str = "") -> Iterator[None]:
    """Raise `RecordDamaged` for a value of `key` that cannot be decoded inside. `hint` says what to do about it."""
    try:
        yield
    except _SIGNS as error:
        why = f"its field {error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise RecordDamaged(key, why, hint) from error


def sound(reply: Any) -> Any:  # noqa: ANN401 - a reply's type depends on its command
    """A reply of `RedisServer.replies`. Raises the `RecordDamaged` that stands in its place."""
    if isinstance(reply, RecordDamaged):
        raise reply
    return reply


def numbers(key: str, members: Iterable[bytes]) -> list[int]:
    """The members or fields of `key`, which are whole numbers. Raises `RecordDamaged`."""
    with reading(key):
        return [int(member) for member in members]


class Damage:
    """The damaged records that one client of a store has skipped, each of them once. Thread-safe.

    A reader of many records reads each of them inside `skipping`. A reader of one record lets the error pass.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._untold: list[str] = []

    @property
    def count(self) -> int:
        """How many different records have been skipped, up to `MAX_KNOWN`."""
        return len(self._known)

    def skipping(self) -> AbstractContextManager[None, bool]:
        """Leave the block where a record turns out to be damaged, and remember that record."""
        return _Skipping(self)

    def numbers(self, key: str, members: Iterable[bytes]) -> list[int]:
        """The members of `key` that are whole numbers; the others are skipped."""
        found: list[int] = []
        for member in members:
            with self.skipping():
                found += numbers(key, [member])
        return found

    def note(self, error: RecordDamaged) -> None:
        """Remember a record that was skipped."""
        with self._lock:
            if error.record not in self._known and len(self._known) < MAX_KNOWN:
                self._known.add(error.record)
                self._untold.append(error.message)

    def news(self) -> list[str]:
        """A sentence for each record that was skipped for the first time since the last call, or a few and a count."""
        with self._lock:
            untold, self._untold = self._untold, []
        sentences = [f"Skipped: {message}" for message in untold[:MAX_NAMED]]
        if len(untold) > MAX_NAMED:
            sentences.append(f"Skipped these and {len(untold) - MAX_NAMED:,} more damaged records.")
        return sentences


class _Skipping(AbstractContextManager[None, bool]):
    def __init__(self, damage: Damage) -> None:
        self._damage = damage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, RecordDamaged):
            self._damage.note(error)
        return isinstance(error, RecordDamaged)
