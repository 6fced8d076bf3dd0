"""An engine that counts what it finishes."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from engine.request import EngineLoad, GroupStats, Request, RequestOutput, Ticket
from worker.shards.inference_engine import InferenceEngine
from worker.telemetry.request_meter import RequestMeter


class MeteredEngine:
    """Passes everything on to `engine`, and every finished request to `meter`. Aborted and failed ones do not count."""

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

    def load(self) -> EngineLoad:
        return self._engine.load()

    def take_group_stats(self, group: str) -> GroupStats:
        return self._engine.take_group_stats(group)

    def shutdown(self) -> None:
        self._engine.shutdown()

    def _observe(self, future: Future[RequestOutput]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._meter.observe(future.result())
