"""Measure decode attention over pages that all sequences share, and over pages of their own, in turn.

    python -m benchmarks.kernels.shared_pages [--sequences 64] [--threads 2] [--rounds 9]

Sequences that stand side by side and share their first pages attend to these in lock-step. In the case `two prefixes`,
neighbours share nothing: every second sequence has the other prefix. All sequences of a case have the same length. The
heads are those of Qwen3-0.6B, in bfloat16. Figures are medians, in milliseconds per layer.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks.kernels.decode_attention import QWEN3_06B, Heads
from benchmarks.report.markdown import markdown_table
from engine.config import PAGE_SIZE
from engine.execution.kernels import load_cpu_kernels
from engine.machine.machine import Machine
from model.memory.zeroed_memory import zeroed_tensor

SHARED_TOKENS = (640, 4096)
LAYERS = 4  # enough that no cache of the processor keeps a layer's pages until the next pass


def tables_of(sequences: int, pages: int, prefixes: int) -> torch.Tensor:
    """Return page tables [sequences, pages + 1]: the pages of one of the prefixes in turn, and a page of its own."""
    firsts = [1 + row % prefixes * pages for row in range(sequences)]
    own = 1 + sequences * pages  # after the pages of all prefixes
    rows = [[*range(first, first + pages), own + row] for row, first in enumerate(firsts)]
    return torch.tensor(rows, dtype=torch.int32)


def milliseconds(caches: list[torch.Tensor], tables: torch.Tensor, heads: Heads) -> float:
    """Return the time of attention per layer."""
    sequences, pages = tables.shape
    queries = torch.randn(sequences, heads.query, heads.dim).bfloat16()
    lengths = torch.full((sequences,), pages * PAGE_SIZE - PAGE_SIZE // 2, dtype=torch.int32)
    started_at = time.perf_counter()
    for cache in caches:
        torch.ops.qwen_batch_cpu.decode_attention(queries, cache, lengths, tables, heads.dim**-0.5)
    return (time.perf_counter() - started_at) / len(caches) * 1000


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--threads", type=int, default=Machine.inspect().cores)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not load_cpu_kernels(print):
        raise SystemExit("This measures the C++ kernels, which cannot be built here.")
    heads, rows = QWEN3_06B, []
    for tokens in SHARED_TOKENS:
        pages = tokens // PAGE_SIZE
        shape = (1 + options.sequences * (pages + 1), 2, heads.kv, PAGE_SIZE, heads.dim)
        caches = [zeroed_tensor(shape, torch.bfloat16).fill_(0.5) for _ in range(LAYERS)]
        cases = {
            "one prefix": tables_of(options.sequences, pages, 1),
            "two prefixes": tables_of(options.sequences, pages, 2),
            "own pages": tables_of(options.sequences, pages, options.sequences),
        }
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, tables in cases.items():
                found[name].append(milliseconds(caches, tables, heads))
        medians = {name: statistics.median(times) for name, times in found.items()}
        rows.append([f"{tokens:,}", *(f"{value:.1f}" for value in medians.values())])
    print(markdown_table(["shared tokens", "one prefix", "two prefixes", "own pages"], rows))


if __name__ == "__main__":
    main()
