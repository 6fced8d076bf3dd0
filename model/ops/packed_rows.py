"""Single rows of a weight that `pack_weight` made, put together again."""

from __future__ import annotations

import torch

from model.ops.linear import AMX_AXES, DOT_AXES

_PLAIN_AXES = 2
_TILE_COLUMNS = 16  # rows of a weight side by side in a tile of `amx_linear.cpp`, whose blocks are two tiles wide


def has_readable_rows(weight: torch.Tensor) -> bool:
    """Whether `rows_of` can read a weight from `pack_weight`: a plain one, or bfloat16 in a layout of our kernels."""
    return not weight.is_mkldnn and weight.dim() in {_PLAIN_AXES, DOT_AXES, AMX_AXES}


def rows_of(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows [T, in_features] of a weight with readable rows, bit by bit as they were packed.

    A row of 1,024 lies in 512 places, each in another line of the processor's cache: 15 microseconds in all.

    Args:
        weight: `has_readable_rows`.
        rows: [T] int64, from 0 to below its out_features.
    """
    if weight.dim() == _PLAIN_AXES:
        return weight[rows]
    pairs = weight.view(torch.int32).squeeze(-1)  # two values of a row, which both layouts keep together
    if weight.dim() == DOT_AXES:
        columns = pairs.shape[2]
        return pairs[rows // columns, :, rows % columns].view(weight.dtype)
    block, column = rows // (2 * _TILE_COLUMNS), rows % (2 * _TILE_COLUMNS)
    read = pairs[block, :, column // _TILE_COLUMNS, :, column % _TILE_COLUMNS]  # [T, k / 32, 16]
    return read.flatten(1).view(weight.dtype)
