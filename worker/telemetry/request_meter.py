"""Counters and histograms of the requests that have finished since the worker's start."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

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

    def add_all(self, values: Iterable[float]) -> None:
        """Count several values."""
        for value in values:
            self.add(value)


class _OriginMeter:
    """Counts finished requests of one origin."""

    def __init__(self) -> None:
        self._finished: Counter[str] = Counter()
        self._histograms = {
            "time_to_first_token_seconds": Histogram(TTFT_SECONDS),
            "inter_token_latency_seconds": Histogram(TPOT_SECONDS),
            "request_queue_time_seconds": Histogram(TTFT_SECONDS),
            "request_time_per_output_token_seconds": Histogram(TPOT_SECONDS),
            "e2e_request_latency_seconds": Histogram(E2E_SECONDS),
            "request_prompt_tokens": Histogram(TOKENS),
            "request_generation_tokens": Histogram(TOKENS),
        }

    def observe(self, output: RequestOutput) -> None:
        self._finished[output.finish_reason.value] += 1
        values = {
            "time_to_first_token_seconds": _first_token_seconds(output),
            "request_queue_time_seconds": output.queue_seconds,
            "request_time_per_output_token_seconds": _seconds_per_token(output),
            "e2e_request_latency_seconds": _whole_seconds(output),
            "request_prompt_tokens": output.num_prompt_tokens,
            "request_generation_tokens": len(output.token_ids),
        }
        for name, value in values.items():
            if value is not None:
                self._histograms[name].add(value)
        self._histograms["inter_token_latency_seconds"].add_all(output.token_gaps)

    def figures(self, origin: Origin) -> RequestFigures:
        histograms = {
            name: HistogramFigures(each.borders, tuple(each.counts), each.sum)
            for name, each in self._histograms.items()
        }
        return RequestFigures(origin, dict(self._finished), histograms)


class RequestMeter:
    """Counts finished requests. Thread-safe. `observe` runs on the engine's thread of results, not beside its steps."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # hold it to read several figures at the same moment
        self.finished: Counter[str] = Counter()  # by finish reason
        self.prompt_tokens = 0
        self.ttft = Histogram(TTFT_SECONDS)
        self.tpot = Histogram(TPOT_SECONDS)
        self.inter_token = Histogram(TPOT_SECONDS)
        self.queue = Histogram(TTFT_SECONDS)
        self.e2e = Histogram(E2E_SECONDS)
        self._origins: dict[Origin, _OriginMeter] = {"batch": _OriginMeter(), "online": _OriginMeter()}

    def observe(self, output: RequestOutput, origin: Origin = "batch") -> None:
        """Count a finished request."""
        seconds_per_token = _seconds_per_token(output)
        with self.lock:
            self._origins[origin].observe(output)
            self.finished[output.finish_reason.value] += 1
            self.prompt_tokens += output.num_prompt_tokens
            self.ttft.add(_first_token_seconds(output))
            self.e2e.add(_whole_seconds(output))
            self.queue.add(output.queue_seconds)
            self.inter_token.add_all(output.token_gaps)
            if seconds_per_token is not None:
                self.tpot.add(seconds_per_token)

    def figures(self) -> tuple[RequestFigures, ...]:
        """Return all figures by origin, for the worker's report."""
        with self.lock:
            return tuple(meter.figures(origin) for origin, meter in self._origins.items())


def _first_token_seconds(output: RequestOutput) -> float:
    return output.first_token_at - output.arrived_at


def _whole_seconds(output: RequestOutput) -> float:
    return output.finished_at - output.arrived_at


def _seconds_per_token(output: RequestOutput) -> float | None:
    """Return the mean time per token after the first. None if there is only one token."""
    following = len(output.token_ids) - 1
    return (output.finished_at - output.first_token_at) / following if following > 0 else None


class MeteredEngine:
    """Passes each call to `engine`, and each finished request to `meter`. Aborted and failed requests do not count."""

    def __init__(self, engine: InferenceEngine, meter: RequestMeter) -> None:
        self._engine = engine
        self._meter = meter

    def submit_many(self, requests: Iterable[Request]) -> list[Ticket]:
        tickets = self._engine.submit_many(requests)
        for ticket in tickets:
            origin: Origin = "online" if ticket.request.urgent else "batch"
            ticket.future.add_done_callback(partial(self._observe, origin))
        return tickets

    def abort_many(self, tickets: Iterable[Ticket]) -> None:
        self._engine.abort_many(tickets)

    def utilization(self) -> Utilization:
        return self._engine.utilization()

    def take_group_stats(self, group: str) -> GroupStats:
        return self._engine.take_group_stats(group)

    def shutdown(self) -> None:
        self._engine.shutdown()

    def _observe(self, origin: Origin, future: Future[RequestOutput]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._meter.observe(future.result(), origin)
