"""Counters and histograms of the requests that have finished since the worker's start."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from engine.request import GroupStats, Request, RequestOutput, Ticket, Utilization
from jobs.stats.request_figures import HistogramFigures, Origin, RequestFigures
from worker.shards.inference_engine import InferenceEngine

# Upper bounds of buckets in seconds. A few wide buckets suffice to show a change; `status` has the exact figures.
TTFT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TPOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
E2E_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


@dataclass
class Histogram:
    """A count per bucket. `borders` holds the buckets' upper bounds. The last count is for values above all bounds."""

    borders: tuple[float, ...]
    counts: list[int] = field(init=False)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.borders) + 1)

    def add(self, value: float) -> None:
        """Count a value. A value equal to a bound belongs to the bucket below the bound."""
        self.counts[bisect.bisect_left(self.borders, value)] += 1
        self.sum += value


class RequestMeter:
    """Counts finished requests of one origin. Thread-safe. `observe` runs on the engine's thread, for microseconds."""

    def __init__(self, origin: Origin = "batch") -> None:
        self.origin = origin
        self.lock = threading.Lock()  # hold it to read several figures at the same moment
        self.finished: Counter[str] = Counter()  # by finish reason
        self.prompt_tokens = 0
        self.ttft = Histogram(TTFT_SECONDS)
        self.tpot = Histogram(TPOT_SECONDS)
        self.e2e = Histogram(E2E_SECONDS)
        self._prompts = Histogram(TOKENS)
        self._completions = Histogram(TOKENS)

    def observe(self, output: RequestOutput) -> None:
        """Count a finished request."""
        num_tokens = len(output.token_ids)
        with self.lock:
            self.finished[output.finish_reason.value] += 1
            self.prompt_tokens += output.num_prompt_tokens
            self._prompts.add(output.num_prompt_tokens)
            self._completions.add(num_tokens)
            self.ttft.add(output.first_token_at - output.arrived_at)
            self.e2e.add(output.finished_at - output.arrived_at)
            if num_tokens > 1:
                self.tpot.add((output.finished_at - output.first_token_at) / (num_tokens - 1))

    def figures(self) -> RequestFigures:
        """Return all figures for the worker's report."""
        named = {
            "time_to_first_token_seconds": self.ttft,
            "request_time_per_output_token_seconds": self.tpot,
            "e2e_request_latency_seconds": self.e2e,
            "request_prompt_tokens": self._prompts,
            "request_generation_tokens": self._completions,
        }
        with self.lock:
            histograms = {
                name: HistogramFigures(histogram.borders, tuple(histogram.counts), histogram.sum)
                for name, histogram in named.items()
            }
            return RequestFigures(self.origin, dict(self.finished), histograms)


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
