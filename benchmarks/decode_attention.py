"""How much of the machine's memory bandwidth decode attention reaches, at several batch sizes and contexts.

    python -m benchmarks.decode_attention [--threads 2]

Qwen3-0.6B's heads in bfloat16. Each figure is the median of several passes over as many layers as a model has, so that
nothing is left in a cache from the pass before, beside what the machine reads at most just before or after.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import NamedTuple

import torch

from cli.local.machine_speed import measure_reads
from engine.config import PAGE_SIZE
from engine.cpu_kernels import load_cpu_kernels
from engine.machine import Machine
from model.ops import attention  # noqa: F401 - defines the operator
from model.zeroed_memory import zeroed_tensor

PASSES = 7
CASES = ((1, 4096), (1, 16384), (16, 4096), (64, 230))  # sequences, tokens of context each


class Heads(NamedTuple):
    """What attention depends on of a model; Qwen3-0.6B's, if nothing else is said."""

    query: int = 16
    kv: int = 8
    dim: int = 128
    layers: int = 28


QWEN3_06B = Heads()


class CachedLayers:
    """The caches of a model whose sequences all have the same context, in scattered pages."""

    def __init__(self, sequences: int, context: int, heads: Heads = QWEN3_06B) -> None:
        pages = -(-context // PAGE_SIZE)
        shape = (sequences * pages + 1, heads.kv, PAGE_SIZE, heads.dim)
        self._caches = [zeroed_tensor(shape, torch.bfloat16).fill_(0.5) for _ in range(2 * heads.layers)]
        self._queries = torch.randn(sequences, heads.query, heads.dim).bfloat16()
        self._start = torch.arange(sequences + 1, dtype=torch.int32)
        self._lengths = torch.full((sequences,), context, dtype=torch.int32)
        self._tables = (torch.randperm(sequences * pages) + 1).int().view(sequences, pages)
        self.bytes = 2 * heads.layers * sequences * context * heads.kv * heads.dim * 2

    def attend(self) -> float:
        """Seconds that attention takes in all layers."""
        started = time.perf_counter()
        for keys, values in zip(self._caches[::2], self._caches[1::2], strict=True):
            torch.ops.qwen_batch.paged_attention(
                self._queries,
                keys,
                values,
                self._start,
                self._lengths,
                self._tables,
                self._queries.shape[-1] ** -0.5,
                True,
            )
        return time.perf_counter() - started


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=Machine.inspect().cores, help="(default: physical cores)")
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    load_cpu_kernels(lambda line: print(line, file=sys.stderr), "none")
    print(f"{threads} threads")
    for sequences, context in CASES:
        limit, rate, after = measure_reads(), _rate(CachedLayers(sequences, context)), measure_reads()
        limit = max(limit, after)
        print(
            f"{sequences:>3} x {context:>6,} tokens: {rate / 1e9:5.1f} of {limit / 1e9:5.1f} GB/s, {rate / limit:4.0%}"
        )


def _rate(layers: CachedLayers) -> float:
    """Bytes a second."""
    layers.attend()
    return layers.bytes / statistics.median(layers.attend() for _ in range(PASSES))


if __name__ == "__main__":
    main()
