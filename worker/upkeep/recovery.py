"""Find the shards that no worker holds, and hint them again."""

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

RECOVERY_LIMIT = 256  # max shards per search, so that a broker that lost all messages is filled in small steps
SETTLE_SECONDS = 3.0  # longer than each pause of `Backoff`, so workers with finished lines write them before a search


class Recovery:
    """Searches the store regularly for shards that no worker holds. One live worker is enough to find them.

    A shard whose lease has expired is hinted at once. Other shards that nobody holds are hinted only when the model's
    queue is empty. While it is not, their hints are probably in it, and repeated hints would flood it.

    Args:
        store: Store to search.
        hints: Sends hints, and tells how many wait.
        model: The served model's name.
        interval_seconds: Mean pause between two searches; it varies by up to 20%.
        link: Gets the outcome of each call.
        clock: Returns monotonic seconds.
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
        self._quiet_until = clock()  # until then, searches only check that the server answers
        self._thread = Periodic("recovery", self._recover_safely, interval_seconds, jitter=0.2)

    def start(self) -> None:
        """Start the searches."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the searches."""
        self._thread.stop()

    def recover(self) -> int:
        """Search once. Returns the number of hinted shards. Raises `StoreUnavailable` and `StoreFull`."""
        queue_is_empty = self._hints.depth(self._model) == 0
        shards = self._store.recovery.recoverable_shards(self._model, RECOVERY_LIMIT, expired_only=not queue_is_empty)
        if shards:
            self._hints.send(self._model, shards)
            names = ", ".join(f"{shard.job_id}/{shard.index}" for shard in shards[:8])
            more = f" and {len(shards) - 8} more" if len(shards) > 8 else ""
            log.info("shards without a holder hinted again: %s%s", names, more)
        return len(shards)

    def _recover_safely(self) -> None:
        """Search, unless the store failed a moment ago.

        When a server comes back, every lease has expired. An immediate search would drop the leases of workers that
        hold finished lines. Other workers would then compute these lines again. Therefore workers first get time to
        write the lines.
        """
        try:
            if self._clock() >= self._quiet_until:
                self.recover()
                self._tell_of_damage()
            else:
                self._hints.depth(self._model)
        except RecordDamaged as error:
            self._store.damage.note(error)
            self._tell_of_damage()
        except (StoreUnavailable, StoreFull) as error:
            self._link.failed(error)
            self._quiet_until = self._clock() + SETTLE_SECONDS

    def _tell_of_damage(self) -> None:
        """Log each damaged record that this worker has skipped, once."""
        for sentence in self._store.damage.unreported():
            log.warning("%s", sentence)
