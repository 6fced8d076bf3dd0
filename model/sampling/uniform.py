"""Random numbers for sampling: a function of (seed, position), without state to keep or restore."""

from __future__ import annotations

import torch

UNIFORM_BITS = 32

# SplitMix64. Its constants are written as the int64 with the same bits. Source: Steele, Lea and Flood, "Fast
# splittable pseudorandom number generators", OOPSLA 2014. The mixer is Stafford's variant 13.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def uniform_bits(seeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return one random number per row: `bits / 2**32` is uniform on [0, 1).

    The number is the top 32 bits of output `position` of SplitMix64, started at the mixed seed. Without this mixing,
    seeds that differ by a multiple of SplitMix64's step would give shifted copies of one stream. The arithmetic is on
    integers modulo 2**64, so every device gives the same bits.

    Args:
        seeds: [n] int64.
        positions: [n] int64, position of the token to draw.

    Returns:
        [n] int64, each from 0 to 2**32 - 1.
    """
    return _shift_right(_mix(_mix(seeds + _GOLDEN) + (positions + 1) * _GOLDEN), 64 - UNIFORM_BITS)


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def _shift_right(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right and fill with zeros. The shift of int64 itself repeats the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
