"""`qwen_batch::linear`: x W^T, with bits a row owes to no other row.

On a CPU the weight is packed once into oneDNN's own layout, which a plain `F.linear` would do anew in every call. A
graph of inductor's refuses that layout as an input; behind an operator of our own it passes.
"""

from __future__ import annotations

import functools

import torch
from torch.nn.functional import linear as plain_linear

from model.ops.library import ANY_DEVICE, LIBRARY

BLOCK_ROWS = 64  # rows of a block where a kernel's bits depend on the number of rows

LIBRARY.define("linear(Tensor x, Tensor weight, int out_features) -> Tensor")


def pack_weight(weight: torch.Tensor) -> torch.Tensor:
    """`weight` [out_features, in_features] in the layout that `linear` is fastest with on its device.

    A packed weight can be used by nothing but `linear`. Where there is no oneDNN the weight itself comes back.
    """
    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return weight


def linear(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    """x [num_rows, in_features] times the transpose of a weight from `pack_weight`: [num_rows, out_features].

    On a CPU a row's bits are the same for any number of rows and any neighbours: either because the machine's kernel
    is so (`kernel_is_row_invariant` has tried), or because it only ever sees blocks of `BLOCK_ROWS` rows.
    """
    if x.device.type != "cpu":
        return plain_linear(x, weight)
    if kernel_is_row_invariant(x.shape[1], out_features, x.dtype, torch.get_num_threads()):
        return _product_of_two_rows_or_more(x, weight)
    return _product_in_blocks(x, weight, out_features)


LIBRARY.impl("linear", linear, ANY_DEVICE)


@torch.library.register_fake("qwen_batch::linear", lib=LIBRARY)
def _linear_fake(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], out_features)


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if weight.is_mkldnn:
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return plain_linear(x, weight)


def _product_of_two_rows_or_more(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One row alone would take a matrix-vector kernel, which rounds differently."""
    if x.shape[0] >= 2:
        return _product(x, weight)
    return _product(torch.cat((x, torch.zeros_like(x))), weight)[:1]


def _product_in_blocks(x: torch.Tensor, weight: torch.Tensor, out_features: int) -> torch.Tensor:
    num_rows = x.shape[0]
    out = x.new_empty(num_rows, out_features)
    for start in range(0, num_rows - BLOCK_ROWS + 1, BLOCK_ROWS):
        out[start : start + BLOCK_ROWS] = _product(x[start : start + BLOCK_ROWS], weight)
    rest = num_rows % BLOCK_ROWS
    if rest:
        block = x.new_zeros(BLOCK_ROWS, x.shape[1])
        block[:rest] = x[num_rows - rest :]
        out[num_rows - rest :] = _product(block, weight)[:rest]
    return out


@functools.cache
def kernel_is_row_invariant(in_features: int, out_features: int, dtype: torch.dtype, num_threads: int) -> bool:  # noqa: ARG001 — the number of threads is part of the key: kernels divide the work by it
    """Whether this machine's kernel gives a row the same bits with any number of rows from two on.

    Tried once a shape with random data, because nothing documents it: with AVX-512 the kernels are so, with AMX those
    for bfloat16 divide long dot products differently for few rows and for many.
    """
    generator = torch.Generator().manual_seed(in_features * 31 + out_features)
    weight = torch.randn(out_features, in_features, generator=generator).to(dtype)
    packed = pack_weight(weight)
    for _ in range(2):
        x = torch.randn(_TRIED_ROWS[-1] + 7, in_features, generator=generator).to(dtype)
        whole = _product(x, packed)
        for num_rows in _TRIED_ROWS:
            for offset in (0, 7):
                part = _product(x[offset : offset + num_rows], packed)
                if not torch.equal(part, whole[offset : offset + num_rows]):
                    return False
    return True


# Around the sizes at which kernels change their blocking: tiles of 16, 32 and 64 rows.
_TRIED_ROWS = (2, 3, 5, 8, 16, 17, 31, 33, 48, 63, 64, 65, 96, 130)
