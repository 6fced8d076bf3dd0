"""The reports of workers in the memory store: their states, their models, and samples of their jobs."""

from __future__ import annotations

from jobs.records.model_card import ModelCard
from jobs.records.shard_stats import TimelineSample
from jobs.records.worker_report import LOST_SECONDS, WorkerReport, as_lost, in_order
from jobs.stores.memory.table import JobTable
from jobs.stores.rules import TIMELINE_SECONDS


class MemoryFleet:
    """Implements `Fleet`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._reports: dict[str, tuple[float, WorkerReport]] = {}  # time of expiry, report
        self._cards: dict[str, ModelCard] = {}

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        with self._table.lock:
            self._reports[report.worker_id] = (self._table.clock() + ttl_seconds, report)

    def forget_worker(self, worker_id: str) -> None:
        with self._table.lock:
            self._reports.pop(worker_id, None)

    def workers(self) -> list[WorkerReport]:
        with self._table.lock:
            now = self._table.clock()
            return in_order(report for until, report in self._reports.values() if until > now)

    def lost_workers(self) -> list[WorkerReport]:
        with self._table.lock:
            now = self._table.clock()
            lost = [(now - until, report) for until, report in self._reports.values() if until <= now]
            return in_order(as_lost(report) for seconds, report in lost if seconds < LOST_SECONDS)

    def publish_model(self, card: ModelCard) -> None:
        with self._table.lock:
            self._cards[card.name] = card

    def model(self, name: str) -> ModelCard | None:
        with self._table.lock:
            return self._cards.get(name)

    def models(self) -> list[ModelCard]:
        with self._table.lock:
            return sorted(self._cards.values(), key=lambda card: card.name)

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        with self._table.lock:
            if job := self._table.jobs.get(job_id):
                min_at = self._table.clock() - TIMELINE_SECONDS
                job.timeline = [*(known for known in job.timeline if known.at >= min_at), sample]
