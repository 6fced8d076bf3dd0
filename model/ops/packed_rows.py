"""Reading single rows of a packed weight, as the embedding does."""

from __future__ import annotations

import torch

from model.ops.linear import AMX_AXES, DOT_AXES

_PLAIN_AXES = 2
_TILE_COLUMNS = 16  # weight rows per tile in `amx_linear.cpp`; its blocks are two tiles wide


def has_readable_rows(weight: torch.Tensor) -> bool:
    """Return True if `rows_of` can read this weight from `pack_weight`.

    It can read a plain weight, and a bfloat16 weight packed for this project's kernels.
    """
    return not weight.is_mkldnn and weight.dim() in {_PLAIN_AXES, DOT_AXES, AMX_AXES}


def rows_of(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return rows [T, in_features] of a weight, with the bits that they had before packing.

    The pieces of a packed row are spread over memory. A row of 1,024 values has 512 pieces, each in a different cache
    line; reading it takes 15 microseconds.

    Args:
        weight: A weight for which `has_readable_rows` is true.
        rows: [T] int64, row indices.
    """
    if weight.dim() == _PLAIN_AXES:
        return weight[rows]
    pairs = weight.view(torch.int32).squeeze(-1)  # both layouts keep two neighbouring values of a row together
    if weight.dim() == DOT_AXES:
        columns = pairs.shape[2]
        return pairs[rows // columns, :, rows % columns].view(weight.dtype)
    block, column = rows // (2 * _TILE_COLUMNS), rows % (2 * _TILE_COLUMNS)
    read = pairs[block, :, column // _TILE_COLUMNS, :, column % _TILE_COLUMNS]  # [T, k / 32, 16]
    return read.flatten(1).view(weight.dtype)
