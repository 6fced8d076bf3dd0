"""Root-mean-square normalisation."""

from __future__ import annotations

import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x / rms(x) over the last axis, in float32, rounded to x's dtype and then scaled: transformers' order of rounding.

    Args:
        x: [..., n]
        weight: [n]
        eps: added to the mean square
    """
    exact = x.float()
    normalised = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + eps)
    return weight * normalised.to(x.dtype)
