"""Notices that the KV cache holds fewer sequences than the batch has places for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import fmean

from engine.request import EngineLoad
from jobs.stats.cache_room import CacheRoom

LOOKS = 10  # at the reporter's pace, 5 seconds: a batch that is short for a moment is no news
SHORT_LOOKS = 8  # of these, for sequences that end leave room for a moment


class CacheWatch:
    """Remembers the last looks at the engine. Not thread-safe."""

    def __init__(self) -> None:
        self._looks: deque[EngineLoad] = deque(maxlen=LOOKS)
        self._told: set[str] = set()

    def look(self, load: EngineLoad, cache_bytes: int) -> CacheRoom | None:
        """The room that the cache has had lately, if that was too little for the batch; else None.

        Args:
            load: Of the engine now.
            cache_bytes: The size of its cache.
        """
        self._looks.append(load)
        short = [each for each in self._looks if each.held_back > 0]
        if len(short) < SHORT_LOOKS:
            return None
        room = CacheRoom(
            running=fmean(each.running for each in short),
            waiting=fmean(each.held_back for each in short),
            wanted_bytes=round(max(each.cache_wanted for each in short) * cache_bytes),
        )
        return room if room.is_short else None

    def untold(self, jobs: Iterable[str]) -> list[str]:
        """Those of `jobs` that this was not asked about before."""
        new = sorted(set(jobs) - self._told)
        self._told.update(new)
        return new
