"""Backup tasks: an idle worker runs the pending lines of other workers' slow shards."""

from __future__ import annotations

import logging
from collections.abc import Callable

from engine.request import EngineDead
from worker.shards.active_shards import ActiveShards
from worker.shards.shard_runner import Outcome, ShardRunner
from worker.upkeep.periodic import Periodic

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
MIN_SECONDS = 5.0  # min time that a slow shard was held; a backup of a shorter one is not worth its work


class BackupRunner:
    """Runs the pending lines of slow shards a second time, one shard after the other, on its own thread.

    The worker that holds the last shards of a job may be slow, or stuck while its heartbeat continues. Then idle
    workers run the same lines, and the store keeps the first result of each line. An idle worker can still start new
    jobs meanwhile. Source: backup tasks in Dean and Ghemawat, "MapReduce", OSDI 2004.

    Args:
        shard_runner: This worker's shard runner.
        active: This worker's active shards.
        on_death: Called when the engine has died.
        min_seconds: Min time that a slow shard must have been held.
    """

    def __init__(
        self,
        shard_runner: ShardRunner,
        active: ActiveShards,
        on_death: Callable[[BaseException], None],
        min_seconds: float = MIN_SECONDS,
    ) -> None:
        self._shard_runner = shard_runner
        self._active = active
        self._on_death = on_death
        self._min_seconds = min_seconds
        self._thread = Periodic("backup-runner", self.run_backups, INTERVAL_SECONDS, jitter=0.2)

    def start(self) -> None:
        """Start to search for slow shards."""
        self._thread.start()

    def stop(self) -> None:
        """Stop searching. `ActiveShards.stop` interrupts a shard that runs."""
        self._thread.stop()

    def run_backups(self) -> None:
        """Run slow shards until there is none, or until this worker has other shards."""
        try:
            while not self._active.leaving and not self._active.job_ids():
                if self._shard_runner.run_backup(self._min_seconds) is not Outcome.FINISHED:
                    return
        except EngineDead as error:
            self._on_death(error)
