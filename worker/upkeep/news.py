"""Hears of new jobs at once, so that a worker that is full begins them soon."""

from __future__ import annotations

from jobs.errors import RecordDamaged, StoreFull, StoreUnavailable
from jobs.stores.protocol import NO_NEWS, JobStore
from worker.shards.active_shards import ActiveShards
from worker.upkeep.periodic import Periodic

LISTEN_SECONDS = 1.0  # a call to the store: while nothing happens it is one a second
REST_SECONDS = 0.05  # after news: a flood of small jobs wakes a worker no more often than it looks by itself
TROUBLE_SECONDS = 1.0  # between two calls while the store does not answer


class News:
    """Tells the thread that waits for its turn (`worker.shards.turns`) to look, on a thread of its own.

    Nothing depends on it: that thread looks by itself before long. So it says nothing about a store in trouble, either.

    Args:
        store: Tells of new jobs.
        model: The served model's name.
        active: Where the waiting thread is told.
    """

    def __init__(self, store: JobStore, model: str, active: ActiveShards) -> None:
        self._store = store
        self._model = model
        self._active = active
        self._heard = NO_NEWS
        self._thread = Periodic("news", self.listen, REST_SECONDS)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; a call that is under way is left to itself."""
        self._thread.stop(timeout_seconds=0)

    def listen(self) -> None:
        """Wait for news and pass on that there are some; returns without any when the worker stops."""
        try:
            while (heard := self._store.wait_for_news(self._model, self._heard, LISTEN_SECONDS)) == self._heard:
                if self._active.stopping.is_set():
                    return
        except RecordDamaged as error:
            self._store.damage().note(error)
            self._active.stopping.wait(TROUBLE_SECONDS)
            return
        except (StoreUnavailable, StoreFull):
            self._active.stopping.wait(TROUBLE_SECONDS)
            return
        self._heard = heard
        self._active.stirred.set()
