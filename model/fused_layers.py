"""All decoder layers as one call into C++ (`layers.cpp`), for bfloat16 on processors with AVX-512."""

from __future__ import annotations

import torch

from model.attention_metadata import AttentionMetadata
from model.kernels.build import kernels_loaded
from model.kv_cache import PagedKVCache
from model.layer_weights import LayerWeights
from model.ops.linear import is_packed_for_own_kernel


def can_fuse(layers: list[LayerWeights]) -> bool:
    """Whether `fused_decoder_layers` can run here with such weights."""
    first = layers[0]
    products = (first.qkv, first.o, first.gate_up, first.down)
    return (
        kernels_loaded()
        and all(is_packed_for_own_kernel(weight) for weight in products)
        and torch.ops.qwen_batch_cpu.layers_available(
            first.shape.hidden_size, first.shape.intermediate_size, first.shape.head_dim
        )
    )


def fused_decoder_layers(
    hidden: torch.Tensor,
    layers: list[LayerWeights],
    cache: PagedKVCache,
    cos: torch.Tensor,
    sin: torch.Tensor,
    metadata: AttentionMetadata,
    last_only: bool,
) -> torch.Tensor:
    """As `layer_by_layer(decoder_layer)`, rounded where that rounds. `can_fuse(layers)` must hold."""
    shape = layers[0].shape
    out: torch.Tensor = torch.ops.qwen_batch_cpu.decoder_layers(
        hidden,
        [tensor for _, *tensors in layers for tensor in tensors],
        cache.layers,
        cos,
        sin,
        metadata.slots,
        metadata.query_start,
        metadata.context_lens,
        metadata.block_tables,
        shape.num_heads,
        shape.intermediate_size,
        shape.eps,
        metadata.num_decodes,
        last_only,
    )
    return out
