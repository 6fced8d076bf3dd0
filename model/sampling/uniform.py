"""The random numbers of sampling: a function of (seed, position), with no state to carry or to restore."""

from __future__ import annotations

import torch

UNIFORM_BITS = 32

# SplitMix64, with its constants as the int64 of the same bits. Source: Steele, Lea and Flood, "Fast splittable
# pseudorandom number generators", OOPSLA 2014; the mixer is Stafford's variant 13.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def uniform_bits(seeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """One draw a row: `bits / 2**32` is uniform on [0, 1).

    Output `position` of SplitMix64 started at the mixed seed, its top 32 bits. The seed is mixed first so that seeds
    which differ by a multiple of SplitMix64's step do not give shifted copies of one stream. Integer arithmetic
    modulo 2**64: every device gives the same bits.

    Args:
        seeds: [n] int64.
        positions: [n] int64, the place of the token to be drawn.

    Returns:
        [n] int64, each from 0 to 2**32 - 1.
    """
    return _shift_right(_mix(_mix(seeds + _GOLDEN) + (positions + 1) * _GOLDEN), 64 - UNIFORM_BITS)


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def _shift_right(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift in zeros: int64's own shift repeats the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
