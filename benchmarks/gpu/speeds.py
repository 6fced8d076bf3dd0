"""Speeds of the engine on a GPU, and the limits that the GPU sets."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cli.offline.roofline import MachineSpeed, ModelCost, decode_limit
from engine.load import LoadedEngine
from engine.request import Request
from jobs.records.sampling import SamplingParams

COPIED_BYTES = 2**31  # much larger than every cache
PRODUCT = 8192  # number of rows, summed values and columns
REPEATS = 10
STREAM_TOKENS = 512


@dataclass(frozen=True)
class Workload:
    """Prompts, and the number of new tokens for each. Runs continue past the end of text."""

    prompts: list[list[int]]
    lengths: list[int]
    temperature: float

    @property
    def output_tokens(self) -> int:
        """Number of new tokens of all requests."""
        return sum(self.lengths)

    @classmethod
    def lone_stream(cls) -> Workload:
        """Return one prompt of 8 tokens."""
        return cls([list(range(8))], [STREAM_TOKENS], 0)

    @classmethod
    def nano_vllm(cls, requests: int = 256) -> Workload:
        """Return the requests of nano-vllm's `bench.py`: 100 to 1,024 tokens in, 100 to 1,024 out, temperature 0.6."""
        luck = random.Random(0)
        prompts = [[luck.randint(0, 10_000) for _ in range(luck.randint(100, 1024))] for _ in range(requests)]
        return cls(prompts, [luck.randint(100, 1024) for _ in range(requests)], 0.6)

    def within(self, vocab_size: int) -> Workload:
        """Return this workload with ids modulo the size of a vocabulary."""
        prompts = [[token % vocab_size for token in prompt] for prompt in self.prompts]
        return Workload(prompts, self.lengths, self.temperature)


def measure_card(device: torch.device) -> MachineSpeed:
    """Measure the GPU: bytes per second that a copy reads and writes, and operations per second of a large product."""
    numbers = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(numbers)
    square = torch.ones(PRODUCT, PRODUCT, dtype=torch.bfloat16, device=device)
    return MachineSpeed(
        read_bytes_per_second=2 * COPIED_BYTES / _min_seconds(lambda: target.copy_(numbers)),
        flop_per_second=2.0 * PRODUCT**3 / _min_seconds(lambda: square @ square),
    )


def measure(loaded: LoadedEngine, workload: Workload) -> float:
    """Return output tokens per second. The time includes the prefill."""
    requests = [
        Request(
            tuple(prompt), SamplingParams(max_tokens=length, temperature=workload.temperature, seed=i, ignore_eos=True)
        )
        for i, (prompt, length) in enumerate(zip(workload.prompts, workload.lengths, strict=True))
    ]
    started_at = time.perf_counter()
    outputs = [ticket.future.result() for ticket in loaded.engine.submit_many(requests)]
    seconds = time.perf_counter() - started_at
    assert [len(output.token_ids) for output in outputs] == workload.lengths
    return workload.output_tokens / seconds


def limit(workload: Workload, model: ModelCost, card: MachineSpeed) -> float:
    """Return the maximum output tokens per second.

    The time is at least that of all products. It is also at least the time of all reads: the weights in every step, and
    the cache.
    """
    pairs = list(zip(map(len, workload.prompts), workload.lengths, strict=True))
    if len(pairs) == 1:
        return decode_limit(model, card, batch=1)
    cached = sum(length * prompt + length * (length - 1) // 2 for prompt, length in pairs)  # tokens read
    reads = cached * model.cache_bytes_per_token + max(workload.lengths) * model.weight_bytes
    flop = sum(map(len, workload.prompts)) * model.flop_per_prefilled_token
    flop += workload.output_tokens * model.flop_per_decoded_token
    return workload.output_tokens / max(reads / card.read_bytes_per_second, flop / card.flop_per_second)


def _min_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several calls."""
    shortest = float("inf")
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        started_at = time.perf_counter()
        work()
        torch.cuda.synchronize()
        shortest = min(shortest, time.perf_counter() - started_at)
    return shortest
