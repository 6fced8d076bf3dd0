"""`qwen_batch::linear`: `x @ W.T`; each row's bits are independent of the other rows.

On a CPU the weight is packed once, which a plain `F.linear` would do anew in every call. In bfloat16 it is packed for a
kernel of ours, where the processor has AMX tiles or AVX-512 (`model/kernels`), else for oneDNN, where oneDNN takes
bfloat16. Inductor refuses oneDNN's layout as a graph's input; behind an operator of our own it passes. A weight may
also be quantised to 8 bits (`model.ops.int8`).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it

from model.kernels.build import kernels_loaded
from model.ops import int8, onednn
from model.ops.library import register
from model.ops.row_invariance import MOST_ROWS, is_row_invariant

Quantization = Literal["none", "int8"]

BLOCK_ROWS = 64  # rows of a block where a kernel's bits depend on the number of rows
AMX_AXES, DOT_AXES = 6, 4  # of weights packed for them (model/kernels/cpu/common/dispatch.cpp)
AMX_STEP, DOT_STEP = 32, 2  # in_features are a multiple of this, in products on AMX tiles and of pairs
WIDENED_VALUES = 1 << 18  # of a weight in float32 at once: 1 MiB, which stays in a cache


def pack_weight(weight: torch.Tensor, quantize: Quantization = "none") -> torch.Tensor:
    """`weight` [out_features, in_features] in the layout that `linear` is fastest with on its device.

    A packed weight can be used by nothing but `linear`. The weight itself comes back where nothing packs its type. On
    a CPU the kernel for this shape is tried here, so that no step has to wait for it.

    Args:
        weight: As a checkpoint holds it.
        quantize: "int8": rounded to 8 bits (`model.ops.int8`); "none": as exact as it is.
    """
    if quantize == "int8":
        plain = int8.quantise_weight(weight)
        return torch.ops.qwen_batch_cpu.int8_pack(plain) if int8_kernel_available() else plain
    if weight.device.type != "cpu":
        return weight
    tiles = _pack_for_own_kernel(weight)
    if tiles is not None:
        return tiles
    kernel_is_row_invariant(weight.shape[1], weight.shape[0], weight.dtype)
    return _pack(weight)


def _pack_for_own_kernel(weight: torch.Tensor) -> torch.Tensor | None:
    """None where none of our kernels fits the weight and the processor."""
    if weight.dtype != torch.bfloat16 or not kernels_loaded():
        return None
    kernels, in_features = torch.ops.qwen_batch_cpu, weight.shape[1]
    tiles: torch.Tensor | None = None
    if in_features % AMX_STEP == 0 and kernels.amx_available():
        tiles = kernels.amx_pack(weight.contiguous())
    elif in_features % DOT_STEP == 0 and kernels.dot_available():
        tiles = kernels.dot_pack(weight.contiguous())
    return tiles


def bfloat16_kernel_available() -> bool:
    """Return whether products with bfloat16 weights run in a kernel of ours here: AVX-512, or AMX tiles as well."""
    return kernels_loaded() and bool(torch.ops.qwen_batch_cpu.dot_available())


def int8_kernel_available() -> bool:
    """Whether products with 8-bit weights run in a kernel of ours here: AVX512-VNNI, or AMX tiles as well."""
    return kernels_loaded() and bool(torch.ops.qwen_batch_cpu.int8_available())


def is_packed_for_own_kernel(weight: torch.Tensor) -> bool:
    """Whether a weight from `pack_weight` is one that our own kernels multiply."""
    return not weight.is_mkldnn and weight.dim() in {AMX_AXES, DOT_AXES, int8.PACKED_AXES}


def is_packed_for_dot_products(weight: torch.Tensor) -> bool:
    """Return whether a weight from `pack_weight` is multiplied in pairs by AVX-512, not on tiles."""
    return not weight.is_mkldnn and weight.dim() == DOT_AXES


def _pack(weight: torch.Tensor) -> torch.Tensor:
    return onednn.pack(weight) if onednn.can_pack(weight.dtype) else weight


def linear(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """x [num_rows, in_features] times the transpose of a weight from `pack_weight`: [num_rows, out_features]."""
    product: torch.Tensor = torch.ops.qwen_batch.linear(x, weight, out_features)
    return product


def plain_linear(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """`linear` for weights that are not packed for one of our kernels.

    On a CPU a row's bits are the same for any number of rows and any neighbours: because our kernel is so, or oneDNN's
    is so on this machine (`kernel_is_row_invariant` has tried), or it only ever sees blocks of `BLOCK_ROWS` rows.
    """
    if weight.dim() == int8.PLAIN_AXES:
        return int8.int8_linear(x, weight)
    if x.device.type != "cpu":
        return F.linear(x, weight)
    if kernel_is_row_invariant(x.shape[1], out_features, x.dtype):
        return _product_of_any_rows(x, weight)
    return _product_in_blocks(x, weight, out_features)


def kernel_is_row_invariant(in_features: int, out_features: int, dtype: torch.dtype) -> bool:
    """`is_row_invariant` of this machine's product. The first call for a shape takes up to a second."""
    widens = dtype == torch.bfloat16 and not onednn.can_pack(dtype)
    product = _widened_product if widens else _product  # rounded to bfloat16, sums would hide most differences
    return is_row_invariant(product, _pack, (in_features, out_features, dtype, torch.get_num_threads()))


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if weight.is_mkldnn:
        return onednn.product(x, weight)
    if weight.dtype == torch.bfloat16:
        return _widened_product(x, weight).to(x.dtype)
    return F.linear(x, weight)


def _widened_product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply bfloat16 in float32, some rows of the weight at a time. Returns float32.

    PyTorch's own product in bfloat16 is a plain loop on processors without instructions for it.
    """
    rows = max(1, WIDENED_VALUES // weight.shape[1])
    wide = x.float()
    return torch.cat([F.linear(wide, part.float()) for part in torch.split(weight, rows)], dim=1)


def _product_of_any_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    num_rows = x.shape[0]
    if num_rows == 1:  # alone it would take a matrix-vector kernel, which rounds differently
        return _product(_padded(x, 2), weight)[:1]
    if num_rows <= MOST_ROWS:
        return _product(x, weight)
    return torch.cat([_product_of_any_rows(part, weight) for part in torch.split(x, MOST_ROWS)])


def _product_in_blocks(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    num_rows = x.shape[0]
    if num_rows == BLOCK_ROWS:
        return _product(x, weight)
    out = x.new_empty(num_rows, out_features)
    whole = num_rows - num_rows % BLOCK_ROWS
    for start in range(0, whole, BLOCK_ROWS):
        out[start : start + BLOCK_ROWS] = _product(x[start : start + BLOCK_ROWS], weight)
    if whole < num_rows:
        out[whole:] = _product(_padded(x[whole:], BLOCK_ROWS), weight)[: num_rows - whole]
    return out


def _padded(x: torch.Tensor, num_rows: int) -> torch.Tensor:
    """x with rows of zeros after its own."""
    padded = x.new_zeros(num_rows, x.shape[1])
    padded[: x.shape[0]] = x
    return padded


def _rows_by_out_features(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], out_features)


register("linear(Tensor x, Tensor weight, int out_features) -> Tensor", plain_linear, _rows_by_out_features)
