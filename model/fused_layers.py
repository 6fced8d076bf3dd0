"""Running all decoder layers in one C++ call (`layers.cpp`), for bfloat16 and 8-bit weights."""

from __future__ import annotations

import torch

from model.attention_metadata import AttentionMetadata
from model.kernels.library import kernels_loaded
from model.kv_cache import PagedKVCache
from model.layer_weights import ExpertWeights, LayerWeights, MlpWeights
from model.ops.packed_weight import is_packed_for_own_kernel


def can_fuse(layers: list[LayerWeights]) -> bool:
    """Return True if `fused_decoder_layers` can run these weights on this machine."""
    first = layers[0]
    if any(type(layer.mlp) is not type(first.mlp) for layer in layers):
        return False
    return (
        kernels_loaded()
        and all(is_packed_for_own_kernel(weight) for weight in (first.qkv, first.o, *_products(first.mlp)))
        and torch.ops.qwen_batch_cpu.layers_available(
            first.shape.hidden_size, first.shape.intermediate_size, first.shape.head_dim
        )
    )


def _products(mlp: MlpWeights | ExpertWeights) -> list[torch.Tensor]:
    return [*mlp.gate_up, *mlp.down] if isinstance(mlp, ExpertWeights) else list(mlp)


def _experts(mlp: MlpWeights | ExpertWeights) -> int:
    """Return the number of experts, 0 for a layer without."""
    return len(mlp.gate_up) if isinstance(mlp, ExpertWeights) else 0


def _tensors(layer: LayerWeights) -> list[torch.Tensor]:
    """Return the layer's weights in the order that `layers.cpp` expects."""
    _, *tensors, mlp = layer
    router = [mlp.router] if isinstance(mlp, ExpertWeights) else []
    return [*tensors, *router, *_products(mlp)]


def fused_decoder_layers(
    hidden: torch.Tensor,
    layers: list[LayerWeights],
    cache: PagedKVCache,
    cos: torch.Tensor,
    sin: torch.Tensor,
    metadata: AttentionMetadata,
    last_only: bool,
) -> torch.Tensor:
    """Run all layers in one C++ call. `can_fuse(layers)` must be true.

    Arguments, result and the places of rounding are those of `layer_by_layer(decoder_layer)`.
    """
    shape = layers[0].shape
    out: torch.Tensor = torch.ops.qwen_batch_cpu.decoder_layers(
        hidden,
        [tensor for layer in layers for tensor in _tensors(layer)],
        cache.layers,
        cos,
        sin,
        metadata.slots,
        metadata.query_start,
        metadata.context_lens,
        metadata.page_tables,
        shape.num_heads,
        shape.intermediate_size,
        _experts(layers[0].mlp),
        shape.experts_per_token,
        shape.normalise_experts,
        shape.eps,
        metadata.num_decodes,
        last_only,
    )
    return out
