"""A worker with a loaded model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from engine.config import PAGE_SIZE
from worker.online.online_part import OnlinePart
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
ONLINE_SECONDS = 1.0  # max wait for the hand-over of interactive requests
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
    online: OnlinePart | None  # None if the worker serves batches only

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
        if self.online is not None:
            self.online.start()

    def drain(self) -> None:
        """Take no more shards and requests, and wait until those that run are finished."""
        self.active.draining.set()
        if self.online is not None:
            self.online.drain()
        self.active.wait_until_idle()

    def hand_over(self) -> None:
        """Give all shards back and remove the worker from the list. Takes as long as the store needs to answer."""
        self.recovery.stop()
        self.backup_runner.stop()
        self.listener.stop()
        self.active.stop()
        online = Thread(target=self.online.hand_over, name="online-hand-over", daemon=True) if self.online else None
        if online is not None:
            online.start()
        self.active.wait_until_idle()
        if online is not None:
            online.join(ONLINE_SECONDS)
        self.lease_keeper.stop()
        self.reporter.stop()

    def close(self) -> None:
        """Shut the engine down after its current step."""
        self.loaded.engine.shutdown()
