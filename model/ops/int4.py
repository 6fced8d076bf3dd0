"""4-bit weights: quantisation, and the matrix product in plain PyTorch.

A weight is split along in_features into groups of 32. A value is `code * scale - minimum`, with a code from 0 to 15. A
group's scale and minimum are float16. Weights are quantised once, at load time. Each row of x is quantised to 8 bits in
every product, as for 8-bit weights (`model.ops.int8`).

A quantised weight is one tensor of bytes [out_features, groups, 16 + 4]: the codes, then scale and minimum. Byte i of a
group holds the codes of values i (lower half) and i + 16 (upper half). `model/kernels/cpu/int4/int4_linear.cpp` repacks
this tensor for its own use.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from model.ops import int8

GROUP = 32  # values that share a scale and a minimum
_MAX_CODE = 15
_CODE_BYTES = GROUP // 2
_BYTES = _CODE_BYTES + 4  # of a group
_VALUES_AT_ONCE = 1 << 19  # values of a weight quantised at once: their float32 copies stay in a cache
_MAX_FLOAT16 = 65504.0
_FITS = 3  # fits of a group's scale to its codes: with normal weights, they take the error from 7.8% to 7.3%


def quantised_bytes(out_features: int, in_features: int) -> int:
    """Return the bytes of a quantised weight."""
    return out_features * -(-in_features // GROUP) * _BYTES


class Groups(NamedTuple):
    """The parts of a quantised weight, one by one."""

    codes: torch.Tensor  # [out_features, in_features], whole numbers from 0 to 15
    scales: torch.Tensor  # [out_features, groups]
    minima: torch.Tensor  # [out_features, groups]


def empty_groups(out_features: int, in_features: int) -> torch.Tensor:
    """Return memory for a quantised weight: bytes [out_features, groups, 20]."""
    return torch.empty(out_features, -(-in_features // GROUP), _BYTES, dtype=torch.uint8)


def quantise_weight(weight: torch.Tensor) -> torch.Tensor:
    """Quantise `weight` [out_features, in_features] to bytes [out_features, groups, 20].

    A group's codes first divide the distance between its lowest and its highest value into 15 equal steps. Then scale
    and minimum are fitted to the codes by least squares, and values are rounded to the new steps, a few times.
    """
    plain = empty_groups(*weight.shape)
    rows = max(1, _VALUES_AT_ONCE // weight.shape[1])
    for part, target in zip(torch.split(weight, rows), torch.split(plain, rows), strict=True):
        padded = torch.nn.functional.pad(part.float(), (0, target.shape[1] * GROUP - part.shape[1]))
        values = padded.view(-1, target.shape[1], GROUP)
        low, high = values.amin(-1), values.amax(-1)
        scales, minima = _halves((high - low) / _MAX_CODE), _halves(-low)
        codes = _codes(values, scales, minima)
        for _ in range(_FITS):
            scales, minima = _fitted(values, codes, scales, minima)
            codes = _codes(values, scales, minima)
        write_groups(Groups(codes, scales, minima), target)
    return plain


def _halves(numbers: torch.Tensor) -> torch.Tensor:
    return (numbers.clamp(-_MAX_FLOAT16, _MAX_FLOAT16) + 0.0).half()  # no zero is negative


def _codes(values: torch.Tensor, scales: torch.Tensor, minima: torch.Tensor) -> torch.Tensor:
    inverse = torch.where(scales > 0, torch.ones_like(scales, dtype=torch.float32) / scales.float(), 0.0)
    return ((values + minima.float().unsqueeze(-1)) * inverse.unsqueeze(-1)).clamp_(0, _MAX_CODE).round_()


def _fitted(
    values: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, minima: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scales and minima with the least squared error for given codes, as float16.

    float64 holds the sums and their products exactly if the values are bfloat16 of usual sizes, so that their order
    does not matter. Groups with a single code, or of enormous values, keep their scales and minima.
    """
    exact = values.double()
    of_codes, of_squares = codes.sum(-1).double(), codes.square().sum(-1).double()
    of_values, of_products = exact.sum(-1), (exact * codes).sum(-1)
    spread = GROUP * of_squares - of_codes.square()
    slopes = (GROUP * of_products - of_codes * of_values) / spread
    offsets = (of_codes * of_products - of_squares * of_values) / spread
    fits = (spread > 0) & (slopes > 0) & (slopes.abs() < _MAX_FLOAT16) & (offsets.abs() < _MAX_FLOAT16)
    new_scales, new_minima = _halves(slopes.float()), _halves(offsets.float())
    return torch.where(fits, new_scales, scales), torch.where(fits, new_minima, minima)


def write_groups(groups: Groups, plain: torch.Tensor) -> None:
    """Write groups in the form of `quantise_weight`. Scales and minima are rounded to float16.

    Args:
        groups: The groups, whose in_features must be a multiple of 32.
        plain: Receives them: bytes [out_features, groups, 20].
    """
    codes = groups.codes.to(torch.uint8).view(*plain.shape[:2], GROUP)
    plain[..., :_CODE_BYTES] = codes[..., :_CODE_BYTES] | codes[..., _CODE_BYTES:] << 4
    plain[..., _CODE_BYTES:] = torch.stack((groups.scales, groups.minima), dim=-1).half().view(torch.uint8)


def int4_linear(x: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Multiply x [num_rows, in_features] by the transpose of a weight from `quantise_weight`. Returns x's dtype.

    Sums within a group are integers, which float32 holds exactly in any order of summation. Groups are added in order.
    """
    values, row_scales = int8.quantise(x)
    codes, scales, minima = _parts(plain)
    sums = torch.zeros(x.shape[0], plain.shape[0], device=x.device)
    per_row_group = int8.GROUP // GROUP
    for first in range(0, plain.shape[1], per_row_group):
        scaled = torch.zeros_like(sums)  # without the scales of the rows
        for group in range(first, min(first + per_row_group, plain.shape[1])):
            part = values[:, first // per_row_group, (group - first) * GROUP :][:, :GROUP]
            scaled -= torch.outer(part.sum(-1), minima[:, group])
            scaled.addcmul_(part @ codes[:, group].T, scales[:, group].expand_as(scaled))
        sums.addcmul_(scaled, row_scales[:, first // per_row_group].unsqueeze(-1).expand_as(scaled))
    return sums.to(x.dtype)


def _parts(plain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return codes [out_features, groups, 32], scales and minima [out_features, groups], all in float32."""
    packed = plain[..., :_CODE_BYTES]
    codes = torch.cat((packed & _MAX_CODE, packed >> 4), dim=-1).float()
    scales, minima = plain[..., _CODE_BYTES:].contiguous().view(torch.float16).float().unbind(-1)
    return codes, scales, minima
