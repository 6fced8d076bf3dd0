"""Hints: messages that tell workers that a shard may need them. The store decides whether it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jobs.records.job import ShardRef

RUN_SHARD_TASK = "qwen_batch.run_shard"
QUEUE_PREFIX = "qwen-batch."


def queue_name(model: str) -> str:
    """The Celery queue of a served model: a job goes only to workers that hold its model."""
    return QUEUE_PREFIX + model


class HintSender(Protocol):
    """Sends hints. Thread-safe."""

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        """Put one message a shard on the model's queue. Returns how many. Raises `StoreUnavailable`."""

    def depth(self, model: str) -> int:
        """Messages waiting on the model's queue."""
