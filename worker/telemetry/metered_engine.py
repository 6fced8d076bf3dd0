"""An engine that counts its finished requests."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from engine.request import GroupStats, Request, RequestOutput, Ticket, Utilization
from worker.shards.inference_engine import InferenceEngine
from worker.telemetry.request_meter import RequestMeter


class MeteredEngine:
    """Passes each call to `engine`, and each finished request to `meter`. Aborted and failed requests do not count."""

    def __init__(self, engine: InferenceEngine, meter: RequestMeter) -> None:
        self._engine = engine
        self._meter = meter

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        tickets = self._engine.submit_many(requests)
        for ticket in tickets:
            ticket.future.add_done_callback(self._observe)
        return tickets

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        self._engine.abort_many(tickets)

    def utilization(self) -> Utilization:
        return self._engine.utilization()

    def take_group_stats(self, group: str) -> GroupStats:
        return self._engine.take_group_stats(group)

    def shutdown(self) -> None:
        self._engine.shutdown()

    def _observe(self, future: Future[RequestOutput]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._meter.observe(future.result())
