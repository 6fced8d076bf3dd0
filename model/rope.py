"""Rotary position embeddings: tables of cosines and sines, and the rotation in the split-halves layout."""

from __future__ import annotations

import math

import torch

from model.checkpoint.config import ModelConfig, YarnConfig


def rope_tables(
    config: ModelConfig, device: torch.device, num_positions: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the first `num_positions` positions, each [num_positions, head_dim / 2] in float32.

    Without a number these are all `max_position_embeddings` of the model.

    Built on the CPU whatever the device, so that every device rotates by the same angles.
    """
    frequencies, scale = _inverse_frequencies(config)
    positions = torch.arange(num_positions or config.max_position_embeddings, dtype=torch.float32)
    angles = positions[:, None] * frequencies[None, :]  # [num_positions, head_dim / 2]
    return (angles.cos() * scale).to(device), (angles.sin() * scale).to(device)


def apply_rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates dimension i of a head against dimension i + head_dim / 2; computed in float32, returned in x's dtype.

    Args:
        x: [num_tokens, heads, head_dim]
        cos: [num_tokens, head_dim / 2], the tokens' rows of the table
        sin: [num_tokens, head_dim / 2]
    """
    cos, sin = cos[:, None, :], sin[:, None, :]
    first, second = x.float().chunk(2, dim=-1)
    rotated = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat([half.to(x.dtype) for half in rotated], dim=-1)


def _inverse_frequencies(config: ModelConfig) -> tuple[torch.Tensor, float]:
    """Radians a token of each pair of dimensions [head_dim / 2], and the factor on cos and sin."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    wavelengths = config.rope_theta**exponents  # over 2 pi
    if config.yarn is None:
        return 1.0 / wavelengths, 1.0
    kept = 1 - _yarn_ramp(config.yarn, config.head_dim, config.rope_theta)
    stretched = 1.0 / (config.yarn.factor * wavelengths)
    return stretched * (1 - kept) + (1.0 / wavelengths) * kept, _yarn_attention_factor(config.yarn)


def _yarn_ramp(yarn: YarnConfig, head_dim: int, theta: float) -> torch.Tensor:
    """0 where a frequency keeps its value, 1 where it is divided by the factor, linear between [head_dim / 2].

    YaRN (arXiv 2309.00071), section 3.2, with transformers' rounding of the two bounds.
    """

    def dimension_that_turns(rotations: float) -> float:
        length = yarn.original_max_position_embeddings / (rotations * 2 * math.pi)
        return head_dim * math.log(length) / (2 * math.log(theta))

    low, high = dimension_that_turns(yarn.beta_fast), dimension_that_turns(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low if high != low else 0.001  # a step instead of a division by zero
    return ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)


def _yarn_attention_factor(yarn: YarnConfig) -> float:
    """The temperature of attention under YaRN, folded into cos and sin (arXiv 2309.00071, section 3.4)."""
    if yarn.attention_factor is not None:
        return yarn.attention_factor

    def temperature(weight: float) -> float:
        return 0.1 * weight * math.log(yarn.factor) + 1.0

    if yarn.mscale and yarn.mscale_all_dim:
        return temperature(yarn.mscale) / temperature(yarn.mscale_all_dim)
    return temperature(1.0)
