"""The weights as the model uses them: fused, and packed for the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from model.checkpoint.config import ModelConfig
from model.sampling.output_screen import OutputScreen

LayerFn = Callable[..., torch.Tensor]  # `decoder_layer`, or a compiled version of it


class LayerShape(NamedTuple):
    """The sizes a layer is computed with, the same for all layers. A packed weight need not show them."""

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    eps: float  # of all four norms

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """The layer sizes of a model."""
        return cls(
            config.hidden_size,
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
            config.intermediate_size,
            config.rms_norm_eps,
        )


class LayerWeights(NamedTuple):
    """One layer. Products marked "packed" come from `pack_weight` and serve `linear` only."""

    shape: LayerShape
    input_norm: torch.Tensor  # [hidden_size]
    qkv: torch.Tensor  # packed [(num_heads + 2 * num_kv_heads) * head_dim, hidden_size]
    q_norm: torch.Tensor  # [head_dim]
    k_norm: torch.Tensor  # [head_dim]
    o: torch.Tensor  # packed [hidden_size, num_heads * head_dim]
    post_norm: torch.Tensor  # [hidden_size]
    gate_up: torch.Tensor  # packed [2 * intermediate_size, hidden_size]
    down: torch.Tensor  # packed [hidden_size, intermediate_size]


@dataclass(frozen=True)
class ModelWeights:
    """The whole model."""

    embedding: torch.Tensor  # for `rows_of`: [vocab_size, hidden_size], or `lm_head` itself
    layers: list[LayerWeights]
    final_norm: torch.Tensor  # [hidden_size]
    lm_head: torch.Tensor  # packed [valid_vocab, hidden_size]
    valid_vocab: int  # ids that can be generated: the tokenizer's
    screen: OutputScreen | None  # of `lm_head`, where there is a kernel for it
