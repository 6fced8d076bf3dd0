"""Detect that the KV cache has room for fewer sequences than the batch has places."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import fmean

from engine.request import Utilization
from jobs.stats.cache_room import CacheRoom

LOOKS = 10  # size of the window: 5 seconds at the reporter's interval; a shorter lack of room is not reported
SHORT_LOOKS = 8  # min looks with a lack of room; not all, because a sequence that ends leaves room for a moment


class CacheWatch:
    """A window over the engine's recent utilization. Not thread-safe."""

    def __init__(self) -> None:
        self._looks: deque[Utilization] = deque(maxlen=LOOKS)
        self._told: set[str] = set()

    def look(self, utilization: Utilization, cache_bytes: int) -> CacheRoom | None:
        """Add a utilization. Returns the cache's recent room if the cache was too small for the batch, else None.

        Args:
            utilization: The engine's current utilization.
            cache_bytes: Size of the engine's cache.
        """
        self._looks.append(utilization)
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
        """Return the jobs in `jobs` that no earlier call named, sorted."""
        new = sorted(set(jobs) - self._told)
        self._told.update(new)
        return new
