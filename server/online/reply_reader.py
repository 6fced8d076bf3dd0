"""Reads what workers say to this HTTP process, on a thread and a connection of its own.

A blocking read that is cancelled could leave its reply to the next reader of the connection. So no read is cancelled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from jobs.errors import StoreDamaged, StoreFull, StoreUnavailable
from jobs.online.online_store import BEGIN, OnlineServerSide, PlacedEntry

_log = logging.getLogger("server.online")

_BLOCK_SECONDS = 1.0
_PAUSE_SECONDS = 0.5  # after an error
_NOTHING_SECONDS = 0.01  # after a read without entries, so that a stream of damaged ones is no busy loop


class ReplyReader:
    """Hands all entries for one HTTP process on, in order.

    Args:
        store: The store, over a connection of its own.
        server: The id of this process.
        hand_on: Called on the reader's thread with one or more entries.
    """

    def __init__(self, store: OnlineServerSide, server: str, hand_on: Callable[[list[PlacedEntry]], object]) -> None:
        self._store = store
        self._server = server
        self._hand_on = hand_on
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replies", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading after the current read."""
        self._stopping.set()

    def _run(self) -> None:
        place = BEGIN
        while not self._stopping.is_set():
            try:
                entries = self._store.replies(self._server, place, _BLOCK_SECONDS)
            except (StoreUnavailable, StoreFull, StoreDamaged) as error:
                _log.debug("the replies of workers cannot be read: %s", error)
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            if not entries:
                self._stopping.wait(_NOTHING_SECONDS)
                continue
            place = entries[-1].place
            if not self._stopping.is_set():
                self._hand_on(entries)
