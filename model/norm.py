"""Root-mean-square normalisation."""

from __future__ import annotations

import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Return x / rms(x) over the last axis, scaled by `weight`.

    The quotient is computed in float32 and rounded to x's dtype before the scaling. transformers rounds in this order.

    Args:
        x: [..., n]
        weight: [n]
        eps: Added to the mean square.
    """
    exact = x.float()
    normalised = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + eps)
    return weight * normalised.to(x.dtype)
