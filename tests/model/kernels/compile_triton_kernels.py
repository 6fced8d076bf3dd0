"""Compile every Triton kernel as its launch would, for a card that need not be there: `… compile_triton_kernels.py 90`.

Prints a line a kernel: its name, its type of numbers, shared memory in bytes, its instructions for tensor cores, those
that cut float32 to TF32.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from model.kernels.triton.operators import paged_attention
from model.kernels.triton.store_kv import store_kv
from testing.models.paged_sequences import PAGE_SIZE, Heads, PagedSequences

HEADS = Heads(16, 8, 128)  # of Qwen3-0.6B


class AbsentCard:
    """What Triton asks a driver before it launches."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, _: int) -> int:
        """The usual one."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return self._target


def compile_instead_of_launching(made: list[tuple[str, Any]]) -> None:
    """From now on a launch compiles its kernel, puts it into `made` and does nothing else."""
    run = JITFunction.run

    def compile_only(self: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        made.append((self.fn.__name__, run(self, *arguments, grid=grid, warmup=True, **options)))

    JITFunction.run = compile_only


def launch_everything(dtype: torch.dtype) -> None:
    """Every kernel once, as the operators launch it, on CPU tensors."""
    sequences = PagedSequences([100, 3], HEADS, dtype)
    lens = torch.tensor(sequences.lengths, dtype=torch.int32)
    tables = sequences.page_tables([0, 1])
    for is_decode, counts in ((True, [1, 1]), (False, sequences.lengths)):
        starts = torch.tensor([0, counts[0], sum(counts)], dtype=torch.int32)
        queries = torch.cat([each[-count:] for each, count in zip(sequences.queries, counts, strict=True)])
        paged_attention(queries, sequences.cache, starts, lens, tables, HEADS.scale, is_decode)
    _, k, v = torch.zeros(5, 32, HEADS.dim, dtype=dtype).split((HEADS.query, HEADS.kv, HEADS.kv), dim=1)
    store_kv(k, v, sequences.cache, torch.arange(PAGE_SIZE, PAGE_SIZE + 5))


def main() -> None:
    """Compile for the compute capability that the command line names."""
    driver.set_active(AbsentCard(int(sys.argv[1])))
    made: list[tuple[str, Any]] = []
    compile_instead_of_launching(made)
    for dtype in (torch.bfloat16, torch.float32):
        made.clear()
        launch_everything(dtype)
        for name, kernel in made:
            ptx = kernel.asm["ptx"]
            tensor_cores = sum(ptx.count(word) for word in ("mma.sync", "wgmma.mma_async"))
            assert kernel.asm["cubin"]
            print(name, dtype, kernel.metadata.shared, tensor_cores, ptx.count("tf32"))  # noqa: T201


if __name__ == "__main__":
    main()
