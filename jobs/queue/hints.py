"""Hints: messages that tell workers that a shard may need a worker. The store decides whether the shard needs one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jobs.records.job import ShardRef

RUN_SHARD_TASK = "qwen_batch.run_shard"
QUEUE_PREFIX = "qwen-batch."


def queue_name(model: str) -> str:
    """Return the Celery queue of a served model. Only workers that serve the model read it."""
    return QUEUE_PREFIX + model


class HintSender(Protocol):
    """Sends hints. Thread-safe."""

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        """Put one message per shard on the model's queue. Returns the number of messages. Raises `StoreUnavailable`."""

    def depth(self, model: str) -> int:
        """Return the number of messages on the model's queue."""
