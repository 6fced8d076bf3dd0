"""Choice of the tasks that a system gets in a round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers.systems import Measure, System
from benchmarks.peers.tasks import workloads
from benchmarks.peers.tasks.task import SHARED, Task


@dataclass(frozen=True)
class Plan:
    """The extent of a series."""

    measures: tuple[Measure, ...]
    repeat: int  # rounds
    requests: int  # number of requests of the batch workload
    other_seeds: tuple[int, ...]  # seeds in addition to seed 0
    large_requests: int
    lines: tuple[int, ...]  # numbers of requests
    batch_sizes: tuple[int, ...]
    shared_requests: int = 128  # requests per workload of prompts that begin alike

    def tasks(self, system: System, round_number: int, vocab_size: int) -> list[Task]:
        """Return the tasks in the order in which they run. Curves are measured only in the first round."""
        wanted = [measure for measure in self.measures if measure in system.measures]
        if round_number > 0:
            wanted = [measure for measure in wanted if measure not in ("lines", "streams")]
        return [task for measure in wanted for task in self._tasks_of(measure, vocab_size)]

    def _tasks_of(self, measure: Measure, vocab_size: int) -> Iterator[Task]:
        match measure:
            case "one_stream":
                yield workloads.one_stream(vocab_size)
            case "prefill":
                yield workloads.prefill(vocab_size)
            case "batch":
                yield workloads.batch(vocab_size, self.requests, 0)
            case "seeds":
                yield from (workloads.batch(vocab_size, self.requests, seed) for seed in self.other_seeds)
            case "large":
                yield workloads.batch(vocab_size, self.large_requests, 0)
            case "lines":
                yield from (workloads.batch(vocab_size, requests, 0) for requests in self.lines)
            case "streams":
                yield from (workloads.streams(vocab_size, size) for size in self.batch_sizes)
            case "shared":
                yield from (workloads.shared(vocab_size, kind, self.shared_requests) for kind in SHARED)
            case "records":
                yield workloads.records(vocab_size, self.requests)
