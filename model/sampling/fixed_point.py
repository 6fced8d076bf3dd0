"""Probabilities as integers, so that sums do not depend on the order of summation.

A float sum depends on the kernel's blocks, and these depend on the batch. Integer sums are exact. After an
element-wise `exp`, a row's draw therefore depends neither on the other rows nor on the width of the kernel's blocks.
"""

from __future__ import annotations

import torch

WEIGHT_BITS = 40  # the best token has the weight 2**40; the sum over up to 2**19 tokens is at most 2**59
FRACTION_BITS = 32


def token_weights(logits: torch.Tensor, best: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Return unnormalised probabilities: floor(2**40 * exp((logit - best) / temperature)).

    The weight is 0 for a logit of -inf, and for a token whose probability is below 2**-40 of the best token's.

    Args:
        logits: [m, n] float32.
        best: [m] float32, the largest logit of each row.
        temperature: [m] float32, above 0.

    Returns:
        [m, n] int64.
    """
    finite_best = best.clamp(min=torch.finfo(best.dtype).min)  # in a row of only -inf, all weights become 0, not NaN
    exponents = (logits - finite_best[:, None]).div_(temperature[:, None])
    return exponents.exp_().mul_(2.0**WEIGHT_BITS).to(torch.int64)


def fraction_bits(fraction: float) -> int:
    """Return a fraction from 0 to 1 as a multiple of 2**-32."""
    return round(fraction * (1 << FRACTION_BITS))


def fraction_of(total: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
    """Return floor(total * fraction / 2**32) exactly, although the product may need 94 bits.

    Args:
        total: [m] int64, from 0 to 2**59.
        fraction: [m] int64, from 0 to 2**32.
    """
    high, low = total >> 29, total & (2**29 - 1)
    return (high * fraction + (low * fraction >> 29)) >> 3
