"""What the worker needs of an engine. `engine.engine.Engine` is one; tests have one that answers from a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from engine.request import EngineLoad, GroupStats, Request, Ticket


class InferenceEngine(Protocol):
    """Runs requests of several shards in one batch. Thread-safe."""

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        """Hand over requests; returns their tickets in the same order."""

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        """End requests at the next step; their futures are cancelled. Finished ones stay as they are."""

    def load(self) -> EngineLoad:
        """How busy it is."""

    def take_group_stats(self, group: str) -> GroupStats:
        """What a group has used since this was last asked."""

    def shutdown(self) -> None:
        """Abort everything and end the engine thread."""
