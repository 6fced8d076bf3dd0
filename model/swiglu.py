"""The feed-forward's gate."""

from __future__ import annotations

import torch
from torch.nn.functional import silu


def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, [num_tokens, 2 * n] to [num_tokens, n], in float32 and rounded once."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (silu(gate) * up).to(gate_up.dtype)
