"""Rotary position embeddings: the tables of cosines and sines, and the rotation in the split-halves layout."""

from __future__ import annotations

import math

import torch

from model.checkpoint.config import ModelConfig, YarnConfig


def rope_tables(
    config: ModelConfig, device: torch.device, num_positions: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines and sines of the first positions, each [num_positions, head_dim / 2] in float32.

    The tables are computed on the CPU for every device, so that all devices rotate by the same angles.

    Args:
        config: The model's configuration.
        device: Device for the tables.
        num_positions: Number of positions. None means the model's `max_position_embeddings`.
    """
    frequencies, scale = _inverse_frequencies(config)
    positions = torch.arange(num_positions or config.max_position_embeddings, dtype=torch.float32)
    angles = positions[:, None] * frequencies[None, :]  # [num_positions, head_dim / 2]
    return (angles.cos() * scale).to(device), (angles.sin() * scale).to(device)


def apply_rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate dimension i of each head together with dimension i + head_dim / 2.

    The rotation is computed in float32 and returned in x's dtype.

    Args:
        x: [num_tokens, heads, head_dim]
        cos: [num_tokens, head_dim / 2], the table's rows for the tokens' positions
        sin: [num_tokens, head_dim / 2], the table's rows for the tokens' positions
    """
    cos, sin = cos[:, None, :], sin[:, None, :]
    first, second = x.float().chunk(2, dim=-1)
    rotated = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat([half.to(x.dtype) for half in rotated], dim=-1)


def _inverse_frequencies(config: ModelConfig) -> tuple[torch.Tensor, float]:
    """Return radians per token for each pair of dimensions [head_dim / 2], and the scale of cos and sin."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    wavelengths = config.rope_theta**exponents  # in tokens, divided by 2 pi
    if config.yarn is None:
        return 1.0 / wavelengths, 1.0
    kept = 1 - _yarn_ramp(config.yarn, config.head_dim, config.rope_theta)
    stretched = 1.0 / (config.yarn.factor * wavelengths)
    return stretched * (1 - kept) + (1.0 / wavelengths) * kept, _yarn_attention_factor(config.yarn)


def _yarn_ramp(yarn: YarnConfig, head_dim: int, theta: float) -> torch.Tensor:
    """Return YaRN's ramp [head_dim / 2] over the frequencies.

    A frequency keeps its value where the ramp is 0, and is divided by the factor where the ramp is 1. In between the
    ramp is linear. Source: YaRN (arXiv 2309.00071), section 3.2, with transformers' rounding of the two bounds.
    """

    def dimension_that_turns(rotations: float) -> float:
        length = yarn.original_max_position_embeddings / (rotations * 2 * math.pi)
        return head_dim * math.log(length) / (2 * math.log(theta))

    low, high = dimension_that_turns(yarn.beta_fast), dimension_that_turns(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low if high != low else 0.001  # avoids a division by zero; the ramp becomes a step
    return ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)


def _yarn_attention_factor(yarn: YarnConfig) -> float:
    """Return YaRN's temperature of attention, which scales cos and sin (arXiv 2309.00071, section 3.4)."""
    if yarn.attention_factor is not None:
        return yarn.attention_factor

    def temperature(weight: float) -> float:
        return 0.1 * weight * math.log(yarn.factor) + 1.0

    if yarn.mscale and yarn.mscale_all_dim:
        return temperature(yarn.mscale) / temperature(yarn.mscale_all_dim)
    return temperature(1.0)
