"""The engine's interface for the worker. `engine.engine.Engine` implements it; tests use a table of answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from engine.request import GroupStats, Request, Ticket, Utilization


class InferenceEngine(Protocol):
    """Runs requests of several shards in one batch. Thread-safe."""

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        """Submit requests. Returns their tickets in the same order."""

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        """End requests at the next step and cancel their futures. Finished requests do not change."""

    def utilization(self) -> Utilization:
        """Return how many sequences run and wait, and how full the cache is."""

    def take_group_stats(self, group: str) -> GroupStats:
        """Return a group's use of the engine since the previous call for the group."""

    def shutdown(self) -> None:
        """Abort all requests and end the engine thread."""
