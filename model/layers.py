"""Running a step through the layers, one call per layer. `model.fused_layers` runs all layers in one call."""

from __future__ import annotations

from collections.abc import Callable

import torch

from model.attention_metadata import AttentionMetadata
from model.kv_cache import PagedKVCache
from model.layer_weights import LayerFn, LayerWeights

# Arguments: hidden [T, E], the layers, the cache, cos and sin [T, D / 2], the step's metadata, and `last_only`.
# Returns hidden [T, E], or the last token of each sequence, [sequences, E], with `last_only`. Fills the cache.
LayersFn = Callable[
    [torch.Tensor, list[LayerWeights], PagedKVCache, torch.Tensor, torch.Tensor, AttentionMetadata, bool], torch.Tensor
]


def layer_by_layer(layer_fn: LayerFn) -> LayersFn:
    """Return a function that runs all layers with `layer_fn`: `decoder_layer`, or a compiled version of it."""

    def run(
        hidden: torch.Tensor,
        layers: list[LayerWeights],
        cache: PagedKVCache,
        cos: torch.Tensor,
        sin: torch.Tensor,
        metadata: AttentionMetadata,
        last_only: bool,
    ) -> torch.Tensor:
        for weights, layer_cache in zip(layers, cache.layers, strict=True):
            hidden = layer_fn(
                hidden,
                weights,
                layer_cache,
                cos,
                sin,
                metadata.slots,
                metadata.query_start,
                metadata.context_lens,
                metadata.page_tables,
                metadata.is_decode,
            )
        return hidden[metadata.query_start[1:] - 1] if last_only else hidden

    return run
