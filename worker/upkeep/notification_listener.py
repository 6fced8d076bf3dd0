"""Listen for new jobs, so that a full worker begins them soon."""

from __future__ import annotations

from jobs.errors import RecordDamaged, StoreFull, StoreUnavailable
from jobs.stores.protocol import JobStore
from worker.shards.active_shards import ActiveShards
from worker.upkeep.periodic import Periodic

LISTEN_SECONDS = 1.0  # max duration of a call to the store
REST_SECONDS = 0.05  # pause after a notification, so that many small jobs wake the worker no more often than it polls
TROUBLE_SECONDS = 1.0  # pause between two calls while the store does not answer


class NotificationListener:
    """Listens for notifications of new jobs, and wakes the thread that waits in `ShardDispatcher.taken`.

    It has its own thread. It is only a shortcut, because the waiting thread also polls. Store errors are therefore
    ignored here.

    Args:
        store: Store that sends the notifications.
        model: The served model's name.
        active: Its event `wakeup` wakes the waiting thread.
    """

    def __init__(self, store: JobStore, model: str, active: ActiveShards) -> None:
        self._store = store
        self._model = model
        self._active = active
        self._last_seen: str | None = None
        self._thread = Periodic("notification-listener", self.listen, REST_SECONDS)

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Does not wait for a call that is in progress."""
        self._thread.stop(timeout_seconds=0)

    def listen(self) -> None:
        """Wait for a notification and wake the waiting thread. Returns without one when the worker stops."""
        try:
            while (seen := self._wait()) == self._last_seen:
                if self._active.stopping.is_set():
                    return
        except RecordDamaged as error:
            self._store.damage.note(error)
            self._active.stopping.wait(TROUBLE_SECONDS)
            return
        except (StoreUnavailable, StoreFull):
            self._active.stopping.wait(TROUBLE_SECONDS)
            return
        self._last_seen = seen
        self._active.wakeup.set()

    def _wait(self) -> str | None:
        return self._store.work.wait_for_notification(self._model, self._last_seen, LISTEN_SECONDS)
