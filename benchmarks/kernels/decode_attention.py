"""Measure the share of the memory bandwidth that decode attention reaches, at several batch sizes and contexts.

    python -m benchmarks.kernels.decode_attention [--threads 2]

The heads are those of Qwen3-0.6B, in bfloat16. Pages are once in the order in which an engine hands them out to
prompts. They are also scattered, as after many sequences have come and gone. A pass runs as many layers as a model has,
so the processor's caches keep nothing from the pass before.

On shared machines the memory's speed changes within a second. Therefore the benchmark reads a large tensor after every
few layers, in the fastest known way. It compares the layers' bytes per second with the reads before and after them.
Figures are medians.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from cli.offline.machine_speed import READ_BYTES, fastest_read
from engine.config import PAGE_SIZE
from engine.execution.kernels import load_cpu_kernels
from engine.machine.machine import Machine
from model.memory.zeroed_memory import zeroed_tensor
from model.ops import attention  # noqa: F401 - defines the operator

PASSES = 5
STRETCH_BYTES = READ_BYTES // 4  # bytes that attention reads between two equally long reads of the tensor
CASES = ((1, 4096), (1, 16384), (16, 4096), (64, 230))  # number of sequences, tokens of context per sequence


class Heads(NamedTuple):
    """The sizes of a model on which attention depends. The defaults are those of Qwen3-0.6B."""

    query: int = 16
    kv: int = 8
    dim: int = 128
    layers: int = 28


QWEN3_06B = Heads()


class CachedLayers:
    """The caches of a model whose sequences all have the same context."""

    def __init__(self, sequences: int, context: int, heads: Heads = QWEN3_06B, *, scattered: bool = True) -> None:
        pages = -(-context // PAGE_SIZE)
        shape = (sequences * pages + 1, 2, heads.kv, PAGE_SIZE, heads.dim)
        self._layers = [zeroed_tensor(shape, torch.bfloat16).fill_(0.5) for _ in range(heads.layers)]
        self._queries = torch.randn(sequences, heads.query, heads.dim).bfloat16()
        self._start = torch.arange(sequences + 1, dtype=torch.int32)
        self._lengths = torch.full((sequences,), context, dtype=torch.int32)
        order = torch.randperm(sequences * pages) if scattered else torch.arange(sequences * pages)
        self._tables = (order + 1).int().view(sequences, pages)
        self._layer_bytes = 2 * sequences * context * heads.kv * heads.dim * 2

    def attend(self) -> float:
        """Run attention in all layers and return the seconds that it takes."""
        return self._attend(self._layers)

    def rates(self) -> Iterator[float]:
        """Yield the bytes per second that attention reads, for one group of layers after the other.

        Each is measured on demand.
        """
        count = -(-STRETCH_BYTES // self._layer_bytes)
        for first in range(0, len(self._layers), count):
            stretch = self._layers[first : first + count]
            yield len(stretch) * self._layer_bytes / self._attend(stretch)

    def _attend(self, layers: list[torch.Tensor]) -> float:
        started = time.perf_counter()
        for cache in layers:
            torch.ops.qwen_batch.paged_attention(
                self._queries,
                cache,
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
    load_cpu_kernels(lambda line: print(line, file=sys.stderr))
    print(f"{threads} threads")
    read = fastest_read(STRETCH_BYTES)
    for (sequences, context), scattered in itertools.product(CASES, (False, True)):
        layers = CachedLayers(sequences, context, scattered=scattered)
        where = "scattered" if scattered else "in order"
        print(f"{sequences:>3} x {context:>6,} tokens, {where:<9}: {_compare(layers, read)}", flush=True)


def _compare(layers: CachedLayers, read: Callable[[], float]) -> str:
    layers.attend()
    limits, rates = [read()], []
    for _ in range(PASSES):
        for rate in layers.rates():
            rates.append(rate)
            limits.append(read())
    around = [(before + after) / 2 for before, after in itertools.pairwise(limits)]
    share = statistics.median(rate / limit for rate, limit in zip(rates, around, strict=True))
    return f"{statistics.median(rates) / 1e9:5.1f} of {statistics.median(limits) / 1e9:5.1f} GB/s, {share:4.0%}"


if __name__ == "__main__":
    main()
