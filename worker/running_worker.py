"""A worker with a loaded model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config import PAGE_SIZE
from worker.shards.active_shards import ActiveShards
from worker.shards.shard_runner import ShardRunner
from worker.upkeep.backup_runner import BackupRunner
from worker.upkeep.lease_keeper import LeaseKeeper
from worker.upkeep.notification_listener import NotificationListener
from worker.upkeep.recovery import Recovery
from worker.upkeep.reporter import Reporter

if TYPE_CHECKING:
    from engine.load import LoadedEngine

SEQUENCES_PER_THREAD = 4  # assumed lines per shard: near their end, many shards must fill the batch together
EXTRA_THREADS = 2  # one thread has the next shard ready, and one is free for a new job


@dataclass(frozen=True)
class RunningWorker:
    """The parts of a worker that exist as long as its engine."""

    loaded: LoadedEngine
    shard_runner: ShardRunner
    lease_keeper: LeaseKeeper
    recovery: Recovery
    backup_runner: BackupRunner
    listener: NotificationListener
    reporter: Reporter
    active: ActiveShards

    @property
    def num_threads(self) -> int:
        """Number of shards to run at the same time; one per thread."""
        return EXTRA_THREADS + math.ceil(self.loaded.resolved.policy.max_num_seqs / SEQUENCES_PER_THREAD)

    @property
    def cache_tokens(self) -> int:
        """Number of tokens that fit in the KV cache. Its first page is not counted: padded rows write to it."""
        return (self.loaded.resolved.num_pages - 1) * PAGE_SIZE

    def start(self) -> None:
        """Start the threads that renew leases and search for work. The reporter's thread already runs."""
        self.lease_keeper.start()
        self.recovery.start()
        self.backup_runner.start()
        self.listener.start()

    def hand_over(self) -> None:
        """Give all shards back and remove the worker from the list. Takes as long as the store needs to answer."""
        self.recovery.stop()
        self.backup_runner.stop()
        self.listener.stop()
        self.active.stop()
        self.active.wait_until_idle()
        self.lease_keeper.stop()
        self.reporter.stop()

    def close(self) -> None:
        """Shut the engine down after its current step."""
        self.loaded.engine.shutdown()
