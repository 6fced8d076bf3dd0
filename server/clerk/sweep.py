"""Remove bytes without a record: what a process left behind that died between writing the bytes and the record."""

from __future__ import annotations

import time

from server.stores import Stores

MIN_AGE_SECONDS = 3_600.0  # an upload in progress is younger
PERIOD_SECONDS = 600.0
FILES_PER_TURN = 100


class Sweep:
    """Goes through the file store now and then, a hundred files per turn, so that the clerk stays quick."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._next_at = 0.0
        self._files = stores.content.older_than(MIN_AGE_SECONDS)

    def take_turn(self) -> None:
        """Look at the next files."""
        if time.monotonic() < self._next_at:
            return
        for _ in range(FILES_PER_TURN):
            place = next(self._files, None)
            if place is None:
                self._files = self._stores.content.older_than(MIN_AGE_SECONDS)
                self._next_at = time.monotonic() + PERIOD_SECONDS
                return
            if self._stores.files.get(*place) is None:
                self._stores.content.remove(*place)
