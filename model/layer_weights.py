"""The weights as the model uses them: fused, and packed for the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch


class LayerWeights(NamedTuple):
    """One layer. Products marked "packed" come from `pack_weight` and serve `linear` only."""

    input_norm: torch.Tensor  # [hidden_size]
    qkv: torch.Tensor  # packed [(num_heads + 2 * num_kv_heads) * head_dim, hidden_size]
    q_norm: torch.Tensor  # [head_dim]
    k_norm: torch.Tensor  # [head_dim]
    o: torch.Tensor  # packed [hidden_size, num_heads * head_dim]
    post_norm: torch.Tensor  # [hidden_size]
    gate_up: torch.Tensor  # packed [2 * intermediate_size, hidden_size]
    down: torch.Tensor  # packed [hidden_size, intermediate_size]
    eps: float  # of all four norms


@dataclass(frozen=True)
class ModelWeights:
    """The whole model."""

    embedding: torch.Tensor  # [vocab_size, hidden_size]
    layers: list[LayerWeights]
    final_norm: torch.Tensor  # [hidden_size]
    lm_head: torch.Tensor  # packed [valid_vocab, hidden_size]
