"""The forms of a weight, and reading of its single rows, as the embedding does."""

from __future__ import annotations

from enum import Enum

import torch

_SHARED_AXES = (3, 5)  # numbers of axes that two forms have
_TILE_COLUMNS = 16  # weight rows per tile in `amx_linear.cpp`; its blocks are two tiles wide


class WeightForm(Enum):
    """A layout of a weight [out_features, in_features].

    Its value is the number of axes, which tells it apart, and the size of the third axis where two have as many.
    """

    PLAIN = (2, None)  # as in the checkpoint
    INT8 = (3, 260)  # 8-bit groups for plain PyTorch: `model.ops.int8.quantise_weight`
    INT4 = (3, 20)  # 4-bit groups for plain PyTorch: `model.ops.int4.quantise_weight`
    DOT = (4, None)  # dot products of pairs by vectors: `dot_linear.cpp`
    INT8_KERNEL = (5, 130)  # 8-bit groups for this project's kernels: `int8_linear.cpp`
    INT4_KERNEL = (5, 10)  # 4-bit groups for this project's kernels: `int4_linear.cpp`
    AMX = (6, None)  # AMX tiles: `amx_linear.cpp`
    ONEDNN = (None, None)  # opaque, with the axes of the plain weight: `model.ops.onednn`


def form_of(weight: torch.Tensor) -> WeightForm:
    """Return the form of a weight from `pack_weight`."""
    if weight.is_mkldnn:
        return WeightForm.ONEDNN
    return WeightForm((weight.dim(), weight.shape[2] if weight.dim() in _SHARED_AXES else None))


def is_packed_for_own_kernel(weight: torch.Tensor) -> bool:
    """Return True if this project's own kernels multiply this weight."""
    return form_of(weight) in {WeightForm.DOT, WeightForm.INT8_KERNEL, WeightForm.INT4_KERNEL, WeightForm.AMX}


def has_readable_rows(weight: torch.Tensor) -> bool:
    """Return True if `rows_of` can read this weight.

    It can read a plain weight, and a bfloat16 weight packed for this project's kernels.
    """
    return form_of(weight) in {WeightForm.PLAIN, WeightForm.DOT, WeightForm.AMX}


def rows_of(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return rows [T, in_features] of a weight, with the bits that they had before packing.

    The pieces of a packed row are spread over memory. A row of 1,024 values has 512 pieces, each in a different cache
    line; reading it takes 15 microseconds.

    Args:
        weight: A weight for which `has_readable_rows` is true.
        rows: [T] int64, row indices.
    """
    form = form_of(weight)
    if form is WeightForm.PLAIN:
        return weight[rows]
    pairs = weight.view(torch.int32).squeeze(-1)  # both layouts keep two neighbouring values of a row together
    if form is WeightForm.DOT:
        columns = pairs.shape[2]
        return pairs[rows // columns, :, rows % columns].view(weight.dtype)
    block, column = rows // (2 * _TILE_COLUMNS), rows % (2 * _TILE_COLUMNS)
    read = pairs[block, :, column // _TILE_COLUMNS, :, column % _TILE_COLUMNS]  # [T, k / 32, 16]
    return read.flatten(1).view(weight.dtype)
