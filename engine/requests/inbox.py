"""The inbox through which other threads pass requests and aborts to the engine thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.request import Ticket
from engine.scheduling.sequence import Sequence


@dataclass
class Mail:
    """New sequences and aborts since the engine thread last read the inbox."""

    new: list[Sequence] = field(default_factory=list)
    aborted: list[Ticket] = field(default_factory=list)


class Inbox:
    """Passes sequences and aborts to a single reader, which sleeps while nothing arrives. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mail = Mail()
        self._open = True

    @property
    def num_new(self) -> int:
        """Number of sequences that the reader has not taken yet."""
        return len(self._mail.new)

    def put(self, sequences: Iterable[Sequence]) -> bool:
        """Add new sequences. A closed inbox takes none and returns False."""
        with self._changed:
            if self._open:
                self._mail.new.extend(sequences)
                self._changed.notify()
            return self._open

    def abort(self, tickets: Iterable[Ticket]) -> None:
        """Ask to abort requests in any state. The reader ignores finished ones."""
        with self._changed:
            self._mail.aborted.extend(tickets)
            self._changed.notify()

    def close(self) -> None:
        """Refuse new sequences from now on, and wake the reader, which then finds the inbox closed."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def take(self, wait: bool) -> Mail | None:
        """Return everything that has arrived, or None once the inbox is closed.

        Args:
            wait: True to sleep until something arrives. Use this if the reader has nothing else to do.
        """
        with self._changed:
            while wait and self._open and not (self._mail.new or self._mail.aborted):
                self._changed.wait()
            return self._swap() if self._open else None

    def drain(self) -> Mail:
        """Return what a closed inbox still holds, and empty it."""
        with self._changed:
            return self._swap()

    def _swap(self) -> Mail:
        mail, self._mail = self._mail, Mail()
        return mail
