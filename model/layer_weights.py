"""The model's weights in the form that its layers read: fused, and packed for the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from model.checkpoint.config import ModelConfig
from model.sampling.output_screen import OutputScreen

LayerFn = Callable[..., torch.Tensor]  # either `decoder_layer` or a compiled version


class LayerShape(NamedTuple):
    """The sizes of a layer, equal for all layers. A packed weight does not always show them."""

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    eps: float  # epsilon of all four norms

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """Return the layer sizes of a model."""
        return cls(
            config.hidden_size,
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
            config.intermediate_size,
            config.rms_norm_eps,
        )


class LayerWeights(NamedTuple):
    """Weights of one layer. Those marked "packed" come from `pack_weight`; only `linear` can use them."""

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
    """Weights of the whole model."""

    embedding: torch.Tensor  # read by `rows_of`: [vocab_size, hidden_size], or `lm_head` itself
    layers: list[LayerWeights]
    final_norm: torch.Tensor  # [hidden_size]
    lm_head: torch.Tensor | None  # packed [valid_vocab, hidden_size]; None for an embedding model
    valid_vocab: int  # number of ids that can be generated: the tokenizer's size
    screen: OutputScreen | None  # screen of `lm_head`; None if this machine has no kernel for one
