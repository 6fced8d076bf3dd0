"""`qwen_batch::linear`: `x @ W.T`. Each row's bits are independent of the other rows.

On a CPU the weight is packed once; a plain `F.linear` would pack it again in every call. A bfloat16 weight is packed
for this project's own kernels (`model/kernels`). Where they cannot be built, it is packed for oneDNN if oneDNN supports
bfloat16 there. Inductor does not accept oneDNN's layout as a graph's input, but it accepts
this custom operator. A weight may also be quantised to 8 bits (`model.ops.int8`) or
4 bits (`model.ops.int4`).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it

from model.kernels.library import kernels_loaded
from model.ops import int4, int8, onednn
from model.ops.library import register
from model.ops.packed_weight import WeightForm, form_of
from model.ops.row_invariance import MAX_ROWS, is_row_invariant

Quantization = Literal["none", "int8", "int4"]

BLOCK_ROWS = 64  # fixed number of rows per product, if a kernel's bits depend on the number of rows
AMX_STEP, DOT_STEP = 32, 2  # in_features must be a multiple of this: on AMX tiles, and in pairs
WIDENED_VALUES = 1 << 18  # values of a weight converted to float32 at once: 1 MiB, which stays in a cache


def pack_weight(weight: torch.Tensor, quantize: Quantization = "none") -> torch.Tensor:
    """Return `weight` in the layout that makes `linear` fastest on its device.

    Only `linear` can use a packed weight. If no kernel packs this type, the weight is returned unchanged. On a CPU this
    call also tests the kernel for this shape (`kernel_is_row_invariant`), so that no step has to wait for the test.

    Args:
        weight: [out_features, in_features], as in the checkpoint.
        quantize: "int8" rounds it to 8 bits (`model.ops.int8`), "int4" to 4 bits (`model.ops.int4`); "none" keeps its
            precision.
    """
    if quantize != "none":
        return pack_quantised(quantised(weight, quantize))
    if weight.device.type != "cpu":
        return weight
    tiles = _pack_for_own_kernel(weight)
    if tiles is not None:
        return tiles
    kernel_is_row_invariant(weight.shape[1], weight.shape[0], weight.dtype)
    return _pack(weight)


def quantised_bytes(shape: tuple[int, ...], quantize: Literal["int8", "int4"]) -> int:
    """Return the bytes of a quantised weight. `shape` is (out_features, in_features)."""
    out_features, in_features = shape
    of_bits = {"int8": int8.quantised_bytes, "int4": int4.quantised_bytes}[quantize]
    return of_bits(out_features, in_features)


def quantised(weight: torch.Tensor, quantize: Literal["int8", "int4"]) -> torch.Tensor:
    """Return the groups of a weight [out_features, in_features], for `pack_quantised`."""
    if weight.dtype == torch.bfloat16 and kernels_loaded():  # the same bits, in a fraction of the time
        kernels = torch.ops.qwen_batch_cpu
        quantise = kernels.int8_quantise if quantize == "int8" else kernels.int4_quantise
        groups: torch.Tensor = quantise(weight.contiguous())
        return groups
    return int8.quantise_weight(weight) if quantize == "int8" else int4.quantise_weight(weight)


def pack_quantised(groups: torch.Tensor) -> torch.Tensor:
    """Pack groups of `quantised` in the layout that makes `linear` fastest."""
    if not kernels_loaded():
        return groups
    kernels = torch.ops.qwen_batch_cpu
    pack = kernels.int8_pack if form_of(groups) is WeightForm.INT8 else kernels.int4_pack
    packed: torch.Tensor = pack(groups)
    return packed


def _pack_for_own_kernel(weight: torch.Tensor) -> torch.Tensor | None:
    """Pack a weight for one of this project's kernels. Returns None if none fits the weight and the processor."""
    if weight.dtype != torch.bfloat16 or not kernels_loaded():
        return None
    kernels, in_features = torch.ops.qwen_batch_cpu, weight.shape[1]
    tiles: torch.Tensor | None = None
    if in_features % AMX_STEP == 0 and kernels.amx_available():
        tiles = kernels.amx_pack(weight.contiguous())
    elif in_features % DOT_STEP == 0:
        tiles = kernels.dot_pack(weight.contiguous())
    return tiles


def _pack(weight: torch.Tensor) -> torch.Tensor:
    return onednn.pack(weight) if onednn.can_pack(weight.dtype) else weight


def linear(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """Multiply x [num_rows, in_features] by the transpose of a weight from `pack_weight`.

    Returns:
        [num_rows, out_features].
    """
    product: torch.Tensor = torch.ops.qwen_batch.linear(x, weight, out_features)
    return product


def plain_linear(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """Multiply as `linear` does, for weights that are not packed for this project's kernels.

    On a CPU a row's bits do not depend on the number of rows or on the other rows. If the kernel does not guarantee
    that on this machine (`kernel_is_row_invariant`), it gets only blocks of `BLOCK_ROWS` rows.
    """
    if form_of(weight) is WeightForm.INT8:
        return int8.int8_linear(x, weight)
    if form_of(weight) is WeightForm.INT4:
        return int4.int4_linear(x, weight)
    if x.device.type != "cpu":
        return F.linear(x, weight)
    if kernel_is_row_invariant(x.shape[1], out_features, x.dtype):
        return _product_of_any_rows(x, weight)
    return product_in_blocks(x, weight, out_features)


def kernel_is_row_invariant(in_features: int, out_features: int, dtype: torch.dtype) -> bool:
    """Return True if this machine's kernel is row-invariant. The first call for a shape takes up to a second."""
    widens = dtype == torch.bfloat16 and not onednn.can_pack(dtype)
    product = _widened_product if widens else _product  # float32, since rounding to bfloat16 hides most differences
    return is_row_invariant(product, _pack, (in_features, out_features, dtype, torch.get_num_threads()))


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if form_of(weight) is WeightForm.ONEDNN:
        return onednn.product(x, weight)
    if weight.dtype == torch.bfloat16:
        return _widened_product(x, weight).to(x.dtype)
    return F.linear(x, weight)


def _widened_product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply bfloat16 values in float32, a block of the weight's rows at a time. Returns float32.

    On processors without bfloat16 instructions, PyTorch's own bfloat16 product is a plain loop.
    """
    rows = max(1, WIDENED_VALUES // weight.shape[1])
    wide = x.float()
    return torch.cat([F.linear(wide, part.float()) for part in torch.split(weight, rows)], dim=1)


def _product_of_any_rows(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    num_rows = x.shape[0]
    if num_rows == 1:  # a single row would run in a matrix-vector kernel, which rounds differently
        return _product(_padded(x, 2), weight)[:1]
    if num_rows <= MAX_ROWS:
        return _product(x, weight)
    return torch.cat([_product_of_any_rows(part, weight) for part in torch.split(x, MAX_ROWS)])


def product_in_blocks(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """Multiply as `plain_linear` does, in blocks of `BLOCK_ROWS` rows, so that every kernel is row-invariant.

    Args:
        x: [num_rows, in_features].
        weight: [out_features, in_features], unpacked or packed for oneDNN.
        out_features: Rows of the weight.
    """
    num_rows = x.shape[0]
    if num_rows == BLOCK_ROWS:
        return _product(x, weight)
    out = x.new_empty(num_rows, out_features)
    num_full = num_rows - num_rows % BLOCK_ROWS
    for start in range(0, num_full, BLOCK_ROWS):
        out[start : start + BLOCK_ROWS] = _product(x[start : start + BLOCK_ROWS], weight)
    if num_full < num_rows:
        out[num_full:] = _product(_padded(x[num_full:], BLOCK_ROWS), weight)[: num_rows - num_full]
    return out


def _padded(x: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Return x padded with zeros to `num_rows` rows."""
    padded = x.new_zeros(num_rows, x.shape[1])
    padded[: x.shape[0]] = x
    return padded


def _rows_by_out_features(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], out_features)


register("linear(Tensor x, Tensor weight, int out_features) -> Tensor", plain_linear, _rows_by_out_features)
