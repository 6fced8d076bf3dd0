"""What a worker does while it has nothing of its own to do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engine.request import EngineDead
from worker.shards.active_shards import ActiveShards
from worker.shards.shard_runner import Outcome, ShardRunner
from worker.upkeep.periodic import Periodic

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
LEAST_SECONDS = 5.0  # that a shard must have been held: what takes less is not worth doing twice


class SpareTime:
    """Runs the pending lines of slow shards a second time, one shard after the other, on a thread of its own.

    The last shards of a job may lie with a worker that is slow, or stuck while its heartbeat goes on. Workers that
    have nothing else to do then run copies of their lines, and the first result of a line is kept: backup tasks (Dean
    and Ghemawat, "MapReduce", OSDI 2004). Lines of new jobs come in beside them.

    Args:
        shard_runner: This worker's.
        active: What it is busy with.
        on_death: Called when the engine has died.
        least_seconds: That a slow shard has been held at the least.
    """

    def __init__(
        self,
        shard_runner: ShardRunner,
        active: ActiveShards,
        on_death: Callable[[BaseException], None],
        least_seconds: float = LEAST_SECONDS,
    ) -> None:
        self._shard_runner = shard_runner
        self._active = active
        self._on_death = on_death
        self._least_seconds = least_seconds
        self._thread = Periodic("spare-time", self.help, INTERVAL_SECONDS, jitter=0.2)

    def start(self) -> None:
        """Look now and then again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what runs is interrupted by `ActiveShards.stop`."""
        self._thread.stop()

    def help(self) -> None:
        """Take over slow shards until there is none, or something else to do."""
        try:
            while not self._active.leaving and not self._active.job_ids():
                if self._shard_runner.run_backup(self._least_seconds) is not Outcome.FINISHED:
                    return
        except EngineDead as error:
            self._on_death(error)
