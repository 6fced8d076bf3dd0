"""A decoder layer as one call into C++ (`model/kernels/layer.cpp`), for bfloat16 on processors with AVX512-BF16."""

from __future__ import annotations

import torch

from model.kernels.build import kernels_loaded
from model.layer_weights import LayerWeights
from model.ops.linear import is_packed_for_own_kernel


def can_fuse(weights: LayerWeights) -> bool:
    """Whether `fused_decoder_layer` can run here with such weights."""
    hidden_size, _, _, head_dim, intermediate_size, _ = weights.shape
    products = (weights.qkv, weights.o, weights.gate_up, weights.down)
    return (
        kernels_loaded()
        and all(is_packed_for_own_kernel(weight) for weight in products)
        and torch.ops.qwen_batch_cpu.layer_available(hidden_size, intermediate_size, head_dim)
    )


def fused_decoder_layer(  # noqa: PLR0913, PLR0917 — the signature of `decoder_layer`
    hidden: torch.Tensor,
    weights: LayerWeights,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    slots: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    block_tables: torch.Tensor,
    is_decode: bool,
) -> torch.Tensor:
    """As `model.qwen3.decoder_layer`, rounded where it rounds. `can_fuse(weights)` must hold."""
    shape, *tensors = weights
    out: torch.Tensor = torch.ops.qwen_batch_cpu.decoder_layer(
        hidden,
        *tensors,
        k_cache,
        v_cache,
        cos,
        sin,
        slots,
        query_start,
        context_lens,
        block_tables,
        shape.num_heads,
        shape.intermediate_size,
        shape.eps,
        is_decode,
    )
    return out
