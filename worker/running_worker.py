"""A worker whose model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config import PAGE_SIZE
from worker.shards.active_shards import ActiveShards
from worker.shards.shard_runner import ShardRunner
from worker.upkeep.lease_keeper import LeaseKeeper
from worker.upkeep.news import News
from worker.upkeep.reaper import Reaper
from worker.upkeep.reporter import Reporter
from worker.upkeep.spare_time import SpareTime

if TYPE_CHECKING:
    from engine.load import LoadedEngine

SEQUENCES_A_THREAD = 4  # shards begin with more, but of many only a few long lines are left: these must fill the batch
MORE_THREADS = 2  # one has the next shard ready, one is there for a job that comes new


@dataclass(frozen=True)
class RunningWorker:
    """The parts of a worker that live as long as its engine."""

    loaded: LoadedEngine
    shard_runner: ShardRunner
    lease_keeper: LeaseKeeper
    reaper: Reaper
    spare_time: SpareTime
    news: News
    reporter: Reporter
    active: ActiveShards

    @property
    def num_threads(self) -> int:
        """How many shards to run at a time."""
        return MORE_THREADS + math.ceil(self.loaded.resolved.max_num_seqs / SEQUENCES_A_THREAD)

    @property
    def cache_tokens(self) -> int:
        """What the KV cache holds; its first page is the sink of padded rows."""
        return (self.loaded.resolved.num_pages - 1) * PAGE_SIZE

    def hand_over(self) -> None:
        """Give all shards back and take the worker off the list; takes as long as the store needs to answer."""
        self.reaper.stop()
        self.spare_time.stop()
        self.news.stop()
        self.active.stop()
        self.active.wait_until_idle()
        self.lease_keeper.stop()
        self.reporter.stop()

    def close(self) -> None:
        """End the engine after its current step."""
        self.loaded.engine.shutdown()
