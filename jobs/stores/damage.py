"""Damaged records of the store: how a reader detects one, and a list of the records that it skipped."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import msgspec
import zstandard

from jobs.errors import RecordDamaged

MAX_KNOWN = 1_000  # max records to remember: a store full of damaged records must not fill the client's memory
MAX_NAMED = 5  # max records that one call of `unreported` names; it counts the others

# Errors of decoding and arithmetic for a value that no version of qwen-batch writes.
_SIGNS = (msgspec.MsgspecError, zstandard.ZstdError, ValueError, KeyError, ArithmeticError)


@contextmanager
def reading(key: str, hint: str = "") -> Iterator[None]:
    """Raise `RecordDamaged` when the block cannot decode the value of `key`.

    `hint` tells the user what to do; if it is empty, the default hint of `RecordDamaged` is used.
    """
    try:
        yield
    except _SIGNS as error:
        raise RecordDamaged(key, _fault(error), hint) from error


def _fault(error: Exception) -> str:
    """Return what is wrong with a value, in words for people who do not know Python."""
    if isinstance(error, KeyError):
        return f"its field {error.args[0]!r} is missing"
    if isinstance(error, UnicodeDecodeError):
        return "its text is not UTF-8"
    _, says_no_number, value = str(error).partition("invalid literal for int() with base 10: ")
    return f"{value.removeprefix('b')} is not a whole number" if says_no_number else str(error)


def sound(reply: Any) -> Any:  # noqa: ANN401 - a reply's type depends on its command
    """Return a reply of `RedisServer.replies`. If it is a `RecordDamaged`, raise it."""
    if isinstance(reply, RecordDamaged):
        raise reply
    return reply


def numbers(key: str, members: Iterable[bytes]) -> list[int]:
    """Return the members or fields of `key` as whole numbers. Raises `RecordDamaged` if one is not a whole number."""
    with reading(key):
        return [int(member) for member in members]


class Damage:
    """The damaged records that one store object has skipped, each listed once. Thread-safe.

    A reader of many records reads each record inside `skipping`. A reader of one record lets the error pass.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._unreported: list[str] = []

    @property
    def count(self) -> int:
        """Number of different records that were skipped, at most `MAX_KNOWN`."""
        return len(self._known)

    def skipping(self) -> AbstractContextManager[None, bool]:
        """Return a context that catches `RecordDamaged`, leaves the block and remembers the record."""
        return _Skipping(self)

    def numbers(self, key: str, members: Iterable[bytes]) -> list[int]:
        """Return the members of `key` that are whole numbers. Skips every other member as damaged."""
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
                self._unreported.append(error.message)

    def unreported(self) -> list[str]:
        """Return a sentence for each record that was skipped for the first time since the last call.

        If there are more than `MAX_NAMED`, the last sentence gives the number of the other records.
        """
        with self._lock:
            unreported, self._unreported = self._unreported, []
        sentences = [f"Skipped: {message}" for message in unreported[:MAX_NAMED]]
        if len(unreported) > MAX_NAMED:
            sentences.append(f"Skipped these and {len(unreported) - MAX_NAMED:,} more damaged records.")
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
