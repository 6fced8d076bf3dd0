"""Running all decoder layers in one C++ call (`layers.cpp`), for bfloat16, 8-bit and 4-bit weights."""

from __future__ import annotations

import weakref

import torch

from model.attention_metadata import AttentionMetadata
from model.kernels.library import kernels_loaded
from model.kv_cache import PagedKVCache
from model.layer_weights import ExpertWeights, LayerWeights, MlpWeights
from model.ops.packed_weight import is_packed_for_own_kernel


def can_fuse(layers: list[LayerWeights]) -> bool:
    """Return True if `FusedLayers` can run these weights on this machine."""
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


class FusedLayers:
    """Runs the layers for which it was made. `can_fuse(layers)` must be true.

    C++ reads the weights once, here, and keeps them as long as this object lives. Arguments and result of a call, and
    the places of rounding, are those of `layer_by_layer(decoder_layer)`.

    Attributes:
        handle: The number under which C++ keeps the weights.
    """

    def __init__(self, layers: list[LayerWeights]) -> None:
        shape = layers[0].shape
        self._layers = layers
        self.handle: int = torch.ops.qwen_batch_cpu.prepare_layers(
            [tensor for layer in layers for tensor in _tensors(layer)],
            len(layers),
            shape.hidden_size,
            shape.num_heads,
            shape.num_kv_heads,
            shape.head_dim,
            shape.intermediate_size,
            _experts(layers[0].mlp),
            shape.experts_per_token,
            shape.normalise_experts,
            shape.eps,
        )
        weakref.finalize(self, torch.ops.qwen_batch_cpu.release_layers, self.handle)

    def __call__(
        self,
        hidden: torch.Tensor,
        layers: list[LayerWeights],
        cache: PagedKVCache,
        cos: torch.Tensor,
        sin: torch.Tensor,
        metadata: AttentionMetadata,
        last_only: bool,
    ) -> torch.Tensor:
        """Run all layers in one C++ call. `layers` must be those of the constructor."""
        assert layers is self._layers, "these layers were not prepared"
        out: torch.Tensor = torch.ops.qwen_batch_cpu.decoder_layers(
            hidden,
            self.handle,
            cache.layers,
            cos,
            sin,
            metadata.slots,
            metadata.query_start,
            metadata.context_lens,
            metadata.page_tables,
            metadata.num_decodes,
            last_only,
        )
        return out


def _products(mlp: MlpWeights | ExpertWeights) -> list[torch.Tensor]:
    return [*mlp.gate_up, *mlp.down] if isinstance(mlp, ExpertWeights) else list(mlp)


def _experts(mlp: MlpWeights | ExpertWeights) -> int:
    """Return the number of experts, 0 for a layer without."""
    return len(mlp.gate_up) if isinstance(mlp, ExpertWeights) else 0


def _tensors(layer: LayerWeights) -> list[torch.Tensor]:
    """Return the layer's weights in the order that `layer_tensors.h` expects."""
    _, *tensors, mlp = layer
    router = [mlp.router] if isinstance(mlp, ExpertWeights) else []
    return [*tensors, *router, *_products(mlp)]
