"""8-bit weights and activations: quantisation, and the matrix product in plain PyTorch.

Weights and activations are split along in_features into groups of 256. Each group has a float32 scale, so a large value
makes only its own group coarser. A value is byte * scale, with bytes from -127 to 127. The scale is the group's largest
magnitude divided by 127. Weights are quantised once, at load time. Each row of x is quantised in every product,
independent of the other rows.

A quantised weight is one tensor of bytes [out_features, groups, 256 + 4]: the values with 128 added, then the scale.
`model/kernels/cpu/int8/int8_linear.cpp` repacks this tensor for its own use.
"""

from __future__ import annotations

import torch

GROUP = 256  # values that share a scale
_SCALE_BYTES = 4
_MAX_VALUE = 127
_MIN_MAGNITUDE = 1e-30  # a group without larger magnitudes becomes zero: the inverse of its scale could be infinite
_OFFSET = 128  # the kernels multiply unsigned by signed bytes
_VALUES_AT_ONCE = 1 << 19  # values of a weight quantised at once: their float32 copies stay in a cache


def quantised_bytes(out_features: int, in_features: int) -> int:
    """Return the bytes of a quantised weight."""
    return out_features * -(-in_features // GROUP) * (GROUP + _SCALE_BYTES)


def quantise_weight(weight: torch.Tensor) -> torch.Tensor:
    """Quantise `weight` [out_features, in_features] to bytes [out_features, groups, 260]."""
    groups = -(-weight.shape[1] // GROUP)
    plain = torch.empty(weight.shape[0], groups, GROUP + _SCALE_BYTES, dtype=torch.uint8, device=weight.device)
    rows = max(1, _VALUES_AT_ONCE // weight.shape[1])
    for part, target in zip(torch.split(weight, rows), torch.split(plain, rows), strict=True):
        values, scales = quantise(part)
        target[..., :GROUP] = values + _OFFSET
        target[..., GROUP:] = scales.unsqueeze(-1).view(torch.uint8)
    return plain


def quantise(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise `rows` [n, k] to integers from -127 to 127.

    Returns:
        The integers as float32 [n, groups, 256], and their scales [n, groups].
    """
    groups = -(-rows.shape[1] // GROUP)
    padded = torch.nn.functional.pad(rows.float(), (0, groups * GROUP - rows.shape[1])).view(-1, groups, GROUP)
    largest = padded.abs().amax(-1)
    # Not `_MAX_VALUE / largest`: PyTorch would multiply by the rounded reciprocal, and the kernels divide.
    inverse = torch.where(largest > _MIN_MAGNITUDE, torch.full_like(largest, _MAX_VALUE) / largest, 0.0)
    return (padded * inverse.unsqueeze(-1)).round_(), largest / _MAX_VALUE


def int8_linear(x: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Multiply x [num_rows, in_features] by the transpose of a weight from `quantise_weight`. Returns x's dtype.

    Sums within a group are integers below 2^24, which float32 holds exactly in any order of summation. Groups are added
    in order.
    """
    values, scales = quantise(x)
    weights = plain[..., :GROUP].float() - _OFFSET
    weight_scales = plain[..., GROUP:].contiguous().view(torch.float32).squeeze(-1)  # [out_features, groups]
    sums = torch.zeros(x.shape[0], plain.shape[0], device=x.device)
    for group in range(plain.shape[1]):
        products = values[:, group] @ weights[:, group].T
        sums.addcmul_(products, torch.outer(scales[:, group], weight_scales[:, group]))
    return sums.to(x.dtype)
