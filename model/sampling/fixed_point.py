"""Probabilities as integers, so that sums do not depend on the order of summing.

A float sum depends on how a kernel cuts it up, and that depends on the batch. Integer sums are exact: after one
element-wise `exp`, a row's draw is the same whatever the other rows are and however wide the kernel's blocks are.
"""

from __future__ import annotations

import torch

WEIGHT_BITS = 40  # the likeliest token weighs 2**40; the sum over 2**19 tokens stays below 2**59
FRACTION_BITS = 32


def token_weights(logits: torch.Tensor, best: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Unnormalised probabilities, floor(2**40 exp((logit - best) / temperature)).

    A token less likely than 2**-40 of the best one weighs nothing, as does one whose logit is -inf.

    Args:
        logits: [m, n] float32.
        best: [m] float32, the largest logit of each row.
        temperature: [m] float32, above 0.

    Returns:
        [m, n] int64.
    """
    finite_best = best.clamp(min=torch.finfo(best.dtype).min)  # a row of -inf alone weighs nothing either
    exponents = (logits - finite_best[:, None]).div_(temperature[:, None])
    return exponents.exp_().mul_(2.0**WEIGHT_BITS).to(torch.int64)


def fraction_bits(fraction: float) -> int:
    """A fraction from 0 to 1 as a multiple of 2**-32."""
    return round(fraction * (1 << FRACTION_BITS))


def fraction_of(total: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
    """floor(total * fraction / 2**32), exactly, though the product itself may need 94 bits.

    Args:
        total: [m] int64, from 0 to below 2**59.
        fraction: [m] int64, from 0 to 2**32.
    """
    high, low = total >> 29, total & (2**29 - 1)
    return (high * fraction + (low * fraction >> 29)) >> 3
