"""Compile every Triton kernel for a card: `python compile_triton_kernels.py 90`.

Prints a line a kernel: its name, its type of numbers, shared memory in bytes, its instructions for tensor cores, those
that cut float32 to TF32.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from model.triton_kernels.decode_attention import _add_splits, _attend_to_splits
from model.triton_kernels.prefill_attention import _attend_to_block
from model.triton_kernels.store_kv import _store_token
from model.triton_kernels.tiles import dot_precision, pipeline_stages

FLOATS = {"sums", "weights"}  # float32 whatever the model's type is
INDICES = {"context_lens": "*i32", "block_tables": "*i32", "query_start": "*i32", "slots": "*i64"}
NUMBERS = {"score_scale": "fp32"}  # other scalars are int32
SHAPE = {"GROUP": 2, "DIM": 128, "WIDTH": 128, "PAGE": 64}
POINTERS = {"out", "q", "k", "v", "k_cache", "v_cache"}


def compile_kernel(kernel: Any, dtype: str, constants: dict[str, Any], target: GPUTarget, stages: int) -> None:
    """Compile with pointers as PyTorch makes them, at multiples of 16 bytes."""
    signature = {name: _type(name, dtype, constants) for name in kernel.arg_names}
    aligned = [i for i, (name, kind) in enumerate(signature.items()) if kind[0] == "*" or name.endswith("stride")]
    attributes = {(i,): [["tt.divisibility", 16]] for i in aligned}
    source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=attributes)
    made = triton.compile(source, target=target, options={"num_stages": stages})
    ptx = made.asm["ptx"]
    tensor_cores = sum(ptx.count(name) for name in ("mma.sync", "wgmma.mma_async"))
    print(kernel.fn.__name__, dtype, made.metadata.shared, tensor_cores, ptx.count("tf32"))  # noqa: T201


def _type(name: str, dtype: str, constants: dict[str, Any]) -> str:
    if name in constants:
        return "constexpr"
    if name in FLOATS:
        return "*fp32"
    return f"*{dtype}" if name in POINTERS else INDICES.get(name, NUMBERS.get(name, "i32"))


def main() -> None:
    """Compile for the compute capability that the command line names."""
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    for dtype, torch_dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        precision, stages = {"PRECISION": dot_precision(torch_dtype)}, pipeline_stages(torch_dtype)
        splits = {**SHAPE, "ROWS": 16, "SPLIT_PAGES": 8, **precision}
        compile_kernel(_attend_to_splits, dtype, splits, target, stages)
        without_pages = {"GROUP": 2, "DIM": 128, "WIDTH": 128, "SPLIT": 512}
        compile_kernel(_add_splits, dtype, without_pages, target, stages)
        compile_kernel(_attend_to_block, dtype, {**SHAPE, "QUERIES": 64, **precision}, target, stages)
        heads = {"HEADS": 8, "DIM": 128, "PAGE": 64, "WIDTH": 1024}
        compile_kernel(_store_token, dtype, heads, target, stages)


if __name__ == "__main__":
    main()
