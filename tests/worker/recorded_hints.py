"""A hint sender that remembers."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.job import ShardRef


class RecordedHints:
    """Its queue is as deep as the test says."""

    def __init__(self) -> None:
        self.sent: list[ShardRef] = []
        self.waiting = 0

    def send(self, model: str, shards: Iterable[ShardRef]) -> int:
        new = list(shards)
        self.sent.extend(new)
        return len(new)

    def depth(self, model: str) -> int:
        return self.waiting
