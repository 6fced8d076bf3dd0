"""Workers and models of the memory store."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from jobs.records.model_card import ModelCard
from jobs.records.worker_report import LOST_SECONDS, WorkerReport, as_lost, in_order


class MemoryFleet:
    """Thread-safe: a part of the store that touches no job, with a lock of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._fleet_lock = Lock()
        self._reports: dict[str, tuple[float, WorkerReport]] = {}  # until when each holds
        self._cards: dict[str, ModelCard] = {}

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        with self._fleet_lock:
            self._reports[report.worker_id] = (self._clock() + ttl_seconds, report)

    def forget_worker(self, worker_id: str) -> None:
        with self._fleet_lock:
            self._reports.pop(worker_id, None)

    def workers(self) -> list[WorkerReport]:
        with self._fleet_lock:
            now = self._clock()
            return in_order(report for until, report in self._reports.values() if until > now)

    def lost_workers(self) -> list[WorkerReport]:
        with self._fleet_lock:
            now = self._clock()
            silent = [(now - until, report) for until, report in self._reports.values() if until <= now]
            return in_order(as_lost(report) for seconds, report in silent if seconds < LOST_SECONDS)

    def publish_model(self, card: ModelCard) -> None:
        with self._fleet_lock:
            self._cards[card.name] = card

    def model(self, name: str) -> ModelCard | None:
        with self._fleet_lock:
            return self._cards.get(name)
