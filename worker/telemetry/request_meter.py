"""What the engine has finished since the worker's start, as counters and histograms."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from dataclasses import dataclass, field

from engine.request import RequestOutput

# Upper borders in seconds. Wide apart: a scraper wants to see a change, `status` has the exact figures.
TTFT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TPOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
E2E_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


@dataclass
class Histogram:
    """Counts by upper border; the last count is of everything above the last border."""

    borders: tuple[float, ...]
    counts: list[int] = field(init=False)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.borders) + 1)

    def add(self, value: float) -> None:
        """One more value; one on a border belongs below it."""
        self.counts[bisect.bisect_left(self.borders, value)] += 1
        self.sum += value


class RequestMeter:
    """Thread-safe. `observe` is called on the engine's thread and takes microseconds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # hold it while reading several figures that should fit together
        self.finished: Counter[str] = Counter()  # by finish reason
        self.prompt_tokens = 0
        self.ttft = Histogram(TTFT_SECONDS)
        self.tpot = Histogram(TPOT_SECONDS)
        self.e2e = Histogram(E2E_SECONDS)

    def observe(self, output: RequestOutput) -> None:
        """A request is finished."""
        num_tokens = len(output.token_ids)
        with self.lock:
            self.finished[output.finish_reason.value] += 1
            self.prompt_tokens += output.num_prompt_tokens
            self.ttft.add(output.first_token_at - output.arrived_at)
            self.e2e.add(output.finished_at - output.arrived_at)
            if num_tokens > 1:
                self.tpot.add((output.finished_at - output.first_token_at) / (num_tokens - 1))
