"""8-bit weights and activations: how numbers become bytes, and their product in plain PyTorch.

Both are cut along in_features into groups of 256 with a float32 scale each, so that one large value coarsens its own
group only: values = bytes * scale, bytes from -127 to 127, the scale a group's largest magnitude / 127. Weights are
quantised once, when they are loaded; the rows of x in every product, each by itself.

A quantised weight is one tensor of bytes [out_features, groups, 256 + 4], values with 128 added and the scale behind
them, or what `model/kernels/cpu/products/int8_linear.cpp` makes of that.
"""

from __future__ import annotations

import torch

GROUP = 256  # values that share a scale
PLAIN_AXES, PACKED_AXES = 3, 5  # of a weight from `quantise_weight`, and of what the kernel makes of it
_SCALE_BYTES = 4
_LARGEST = 127
_SMALLEST = 1e-30  # a group of smaller magnitudes is zero: the inverse of its scale could be infinite
_OFFSET = 128  # the kernels multiply unsigned by signed bytes
_ROWS_AT_ONCE = 4096  # of a weight: what a larger one would take in float32 is not wanted in memory


def quantised_bytes(out_features: int, in_features: int) -> int:
    """Memory of a quantised weight."""
    return out_features * -(-in_features // GROUP) * (GROUP + _SCALE_BYTES)


def quantise_weight(weight: torch.Tensor) -> torch.Tensor:
    """`weight` [out_features, in_features] as bytes [out_features, groups, 260]."""
    groups = -(-weight.shape[1] // GROUP)
    plain = torch.empty(weight.shape[0], groups, GROUP + _SCALE_BYTES, dtype=torch.uint8, device=weight.device)
    for part, target in zip(torch.split(weight, _ROWS_AT_ONCE), torch.split(plain, _ROWS_AT_ONCE), strict=True):
        values, scales = quantise(part)
        target[..., :GROUP] = values + _OFFSET
        target[..., GROUP:] = scales.unsqueeze(-1).view(torch.uint8)
    return plain


def quantise(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows` [n, k] as whole numbers from -127 to 127 in float32 [n, groups, 256], and their scales [n, groups]."""
    groups = -(-rows.shape[1] // GROUP)
    padded = torch.nn.functional.pad(rows.float(), (0, groups * GROUP - rows.shape[1])).view(-1, groups, GROUP)
    largest = padded.abs().amax(-1)
    # A number divided by a tensor would be its product with the rounded reciprocal, which is not what the kernels do.
    inverse = torch.where(largest > _SMALLEST, torch.full_like(largest, _LARGEST) / largest, 0.0)
    return (padded * inverse.unsqueeze(-1)).round_(), largest / _LARGEST


def int8_linear(x: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """x [num_rows, in_features] times the transpose of a weight from `quantise_weight`, in x's dtype.

    A group's products are whole numbers below 2^24, so exact in float32 in any order; groups are added in order.
    """
    values, scales = quantise(x)
    weights = plain[..., :GROUP].float() - _OFFSET
    weight_scales = plain[..., GROUP:].contiguous().view(torch.float32).squeeze(-1)  # [out_features, groups]
    sums = torch.zeros(x.shape[0], plain.shape[0], device=x.device)
    for group in range(plain.shape[1]):
        products = values[:, group] @ weights[:, group].T
        sums.addcmul_(products, torch.outer(scales[:, group], weight_scales[:, group]))
    return sums.to(x.dtype)
