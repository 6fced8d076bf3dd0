"""Workers and models of the memory store."""

from __future__ import annotations

from collections.abc import Callable

from jobs.model_card import ModelCard
from jobs.worker_report import WorkerReport


class MemoryFleet:
    """Not thread-safe: the store that owns it holds its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[float, WorkerReport]] = {}  # until when each holds
        self._cards: dict[str, ModelCard] = {}

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        self._reports[report.worker_id] = (self._clock() + ttl_seconds, report)

    def forget_worker(self, worker_id: str) -> None:
        self._reports.pop(worker_id, None)

    def workers(self) -> list[WorkerReport]:
        now = self._clock()
        alive = [report for until, report in self._reports.values() if until > now]
        return sorted(alive, key=lambda report: (report.model, report.host, report.pid))

    def publish_model(self, card: ModelCard) -> None:
        self._cards[card.name] = card

    def model(self, name: str) -> ModelCard | None:
        return self._cards.get(name)
