"""How other threads talk to the engine thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.request import Ticket
from engine.scheduling.sequence import Sequence


@dataclass
class Mail:
    """What arrived since the engine thread last looked."""

    new: list[Sequence] = field(default_factory=list)
    aborted: list[Ticket] = field(default_factory=list)


class Inbox:
    """Hands sequences and aborts to one reader, which sleeps while there is nothing to do. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mail = Mail()
        self._open = True

    @property
    def num_new(self) -> int:
        """Sequences that the reader has not taken yet."""
        return len(self._mail.new)

    def put(self, sequences: Iterable[Sequence]) -> bool:
        """Hand over new sequences. Returns False, and takes none, if the inbox is closed."""
        with self._changed:
            if self._open:
                self._mail.new.extend(sequences)
                self._changed.notify()
            return self._open

    def abort(self, tickets: Iterable[Ticket]) -> None:
        """Ask for the end of requests that may be anywhere, even finished."""
        with self._changed:
            self._mail.aborted.extend(tickets)
            self._changed.notify()

    def close(self) -> None:
        """Take nothing new. The reader is woken and finds the inbox closed."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def take(self, wait: bool) -> Mail | None:
        """Everything that has arrived. None once the inbox is closed.

        Args:
            wait: Sleep until something arrives, for a reader with nothing else to do.
        """
        with self._changed:
            while wait and self._open and not (self._mail.new or self._mail.aborted):
                self._changed.wait()
            return self._swap() if self._open else None

    def drain(self) -> Mail:
        """What a closed inbox still holds."""
        with self._changed:
            return self._swap()

    def _swap(self) -> Mail:
        mail, self._mail = self._mail, Mail()
        return mail
