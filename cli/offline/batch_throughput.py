"""Measures the throughput of many random requests in this process's engine, without queue and store."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from engine.load import LoadedEngine
from engine.request import GroupStats, Request
from jobs.records.sampling import SamplingParams


@dataclass(frozen=True)
class BatchFigures:
    """Figures of one run of a workload."""

    requests: int
    input_tokens: int
    output_tokens: int
    longest_output: int
    seconds: float
    prefill_seconds: float
    decode_seconds: float
    mean_batch_size: float

    @property
    def output_throughput(self) -> float:
        """Generated tokens per second. The time includes the prefill."""
        return self.output_tokens / self.seconds


def random_workload(requests: int, vocab_size: int, seed: int = 0) -> list[tuple[list[int], int]]:
    """Return pairs of prompt ids and output length, uniformly random: 32 to 256 ids, 32 to 192 output tokens.

    A smaller workload is the beginning of a larger one. Ids are taken modulo the vocabulary's size.
    """
    rng = random.Random(seed)
    return [
        (
            [rng.randrange(1000, 150_000) % vocab_size for _ in range(rng.randint(32, 256))],
            rng.randint(32, 192),
        )
        for _ in range(requests)
    ]


def measure_batch(loaded: LoadedEngine, workload: list[tuple[list[int], int]]) -> BatchFigures:
    """Submit all requests at once and wait for them. They run greedily and ignore the end of text."""
    engine = loaded.engine
    requests = [
        Request(tuple(ids), SamplingParams(max_tokens=length, temperature=0, ignore_eos=True), group="bench")
        for ids, length in workload
    ]
    started_at = time.perf_counter()
    tickets = engine.submit_many(requests)
    outputs = [ticket.future.result() for ticket in tickets]
    seconds = time.perf_counter() - started_at
    stats: GroupStats = engine.take_group_stats("bench")
    return BatchFigures(
        requests=len(requests),
        input_tokens=sum(output.num_prompt_tokens for output in outputs),
        output_tokens=sum(len(output.token_ids) for output in outputs),
        longest_output=max(len(output.token_ids) for output in outputs),
        seconds=seconds,
        prefill_seconds=stats.prefill_seconds,
        decode_seconds=stats.decode_seconds,
        mean_batch_size=stats.decode_batch_sum / max(1, stats.decode_steps),
    )
