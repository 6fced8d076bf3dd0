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
    """The sizes of a layer. A packed weight does not always show them."""

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int  # of the layer's MLP, or of each of its experts
    eps: float  # epsilon of all four norms
    experts_per_token: int = 0  # 0: the layer has no experts
    normalise_experts: bool = False  # True if a token's weights of experts are divided by their sum

    @classmethod
    def of(cls, config: ModelConfig, layer: int) -> Self:
        """Return the sizes of the layer of this number, from 0."""
        dense = cls(
            config.hidden_size,
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
            config.intermediate_size,
            config.rms_norm_eps,
        )
        experts = config.experts
        if experts is None or not config.has_experts(layer):
            return dense
        return dense._replace(
            intermediate_size=experts.intermediate_size,
            experts_per_token=experts.per_token,
            normalise_experts=experts.normalise,
        )


class MlpWeights(NamedTuple):
    """Weights of a layer's MLP, packed."""

    gate_up: torch.Tensor  # [2 * intermediate_size, hidden_size]
    down: torch.Tensor  # [hidden_size, intermediate_size]


class ExpertWeights(NamedTuple):
    """Weights of a layer with experts, packed. Each list has one tensor per expert, shaped as in `MlpWeights`."""

    router: torch.Tensor  # [experts, hidden_size] float32
    gate_up: list[torch.Tensor]
    down: list[torch.Tensor]


class LayerWeights(NamedTuple):
    """Weights of one layer. Those marked "packed" come from `pack_weight`; only `linear` can use them."""

    shape: LayerShape
    input_norm: torch.Tensor  # [hidden_size]
    qkv: torch.Tensor  # packed [(num_heads + 2 * num_kv_heads) * head_dim, hidden_size]
    q_norm: torch.Tensor  # [head_dim]
    k_norm: torch.Tensor  # [head_dim]
    o: torch.Tensor  # packed [hidden_size, num_heads * head_dim]
    post_norm: torch.Tensor  # [hidden_size]
    mlp: MlpWeights | ExpertWeights


@dataclass(frozen=True)
class ModelWeights:
    """Weights of the whole model."""

    embedding: torch.Tensor  # read by `rows_of`: [vocab_size, hidden_size], or `lm_head` itself
    layers: list[LayerWeights]
    final_norm: torch.Tensor  # [hidden_size]
    lm_head: torch.Tensor | None  # packed [valid_vocab, hidden_size]; None for an embedding model
    valid_vocab: int  # number of ids that can be generated: the tokenizer's size
    screen: OutputScreen | None  # screen of `lm_head`; None if this machine has no kernel for one
