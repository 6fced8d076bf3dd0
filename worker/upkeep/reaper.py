"""Finds shards that nobody works on, and hints them again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from jobs.errors import RecordDamaged, StoreFull, StoreUnavailable
from jobs.queue.hints import HintSender
from jobs.stores.protocol import JobStore
from worker.upkeep.periodic import Periodic
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

SWEEP_LIMIT = 256  # shards a sweep: more wait for the next, so that a broker that lost everything is filled gently
SETTLE_SECONDS = 3.0  # longer than any pause of `Backoff`: whoever holds finished lines has tried again by then


class Reaper:
    """Sweeps the store for stranded shards; every worker has one, so any worker that lives is enough.

    A shard whose lease has expired is hinted at once. One that was never leased is hinted only when the model's queue
    is empty: a long queue's shards have their hints in it, and to hint those again every second would flood it.

    Args:
        store: The truth about who holds what.
        hints: Where hints go, and how many wait.
        model: The served model's name.
        interval_seconds: Between two sweeps, give or take a fifth.
        link: Told of every call that failed or worked.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        hints: HintSender,
        model: str,
        interval_seconds: float,
        link: StoreLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hints = hints
        self._model = model
        self._link = link
        self._clock = clock
        self._quiet_until = clock()  # before that, sweeps only look whether the server answers
        self._thread = Periodic("reaper", self._sweep_safely, interval_seconds, jitter=0.2)

    def start(self) -> None:
        """Sweep now and then again and again."""
        self._thread.start()

    def stop(self) -> None:
        """End the sweeps."""
        self._thread.stop()

    def sweep(self) -> int:
        """Look once; returns how many shards were hinted. Raises `StoreUnavailable` and `StoreFull`."""
        queue_is_empty = self._hints.depth(self._model) == 0
        shards = self._store.stranded(self._model, SWEEP_LIMIT, expired_only=not queue_is_empty)
        if shards:
            self._hints.send(self._model, shards)
            names = ", ".join(f"{shard.job_id}/{shard.index}" for shard in shards[:8])
            more = f" and {len(shards) - 8} more" if len(shards) > 8 else ""
            log.info("stranded shards hinted again: %s%s", names, more)
        return len(shards)

    def _sweep_safely(self) -> None:
        """A server that comes back finds every lease expired. Workers that hold finished lines write them first: a
        sweep at once would drop their leases, and the lines would be computed again.
        """
        try:
            if self._clock() >= self._quiet_until:
                self.sweep()
                self._tell_of_damage()
            else:
                self._hints.depth(self._model)
        except RecordDamaged as error:
            self._store.damage().note(error)
            self._tell_of_damage()
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            self._quiet_until = self._clock() + SETTLE_SECONDS

    def _tell_of_damage(self) -> None:
        """Log each damaged record that this worker has skipped, once."""
        for sentence in self._store.damage().news():
            log.warning("%s", sentence)
