"""Qwen3 on a page: what is computed, in which order, in which shapes.

T tokens of a step, packed sequence by sequence; E hidden_size; H query heads, KV key-value heads, D head_dim;
I intermediate_size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch

from model.attention_metadata import AttentionMetadata
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import load_model_weights
from model.kv_cache import PagedKVCache
from model.layer_weights import LayerWeights, ModelWeights
from model.layers import LayersFn, layer_by_layer
from model.norm import rms_norm
from model.ops import attention, kv_store  # noqa: F401 — registers the operators
from model.ops.linear import Quantization, linear
from model.ops.packed_rows import rows_of
from model.rope import apply_rope, rope_tables
from model.swiglu import swiglu


def decoder_layer(  # noqa: PLR0913, PLR0917 — every input of the compiled function is explicit
    hidden: torch.Tensor,  # [T, E]
    weights: LayerWeights,
    cache: torch.Tensor,  # [pages, 2, KV, page size, D], keys before values; changed in place
    cos: torch.Tensor,  # [T, D / 2]
    sin: torch.Tensor,  # [T, D / 2]
    slots: torch.Tensor,  # [T]
    query_start: torch.Tensor,  # [sequences + 1]
    context_lens: torch.Tensor,  # [sequences]
    block_tables: torch.Tensor,  # [sequences, pages of the longest]
    is_decode: bool,
) -> torch.Tensor:
    """One layer, [T, E] to [T, E]: a pure function but for the cache.

    Weights and cache are arguments, so that one compiled version serves all layers (`model.compiled_layer`).
    """
    ops = torch.ops.qwen_batch
    hidden_size, heads, kv_heads, head_dim, intermediate, eps = weights.shape

    x = rms_norm(hidden, weights.input_norm, eps)
    qkv = ops.linear(x, weights.qkv, (heads + 2 * kv_heads) * head_dim).view(-1, heads + 2 * kv_heads, head_dim)
    q, k, v = qkv.split((heads, kv_heads, kv_heads), dim=1)  # [T, H, D], [T, KV, D], [T, KV, D]
    q = apply_rope(rms_norm(q, weights.q_norm, eps), cos, sin)
    k = apply_rope(rms_norm(k, weights.k_norm, eps), cos, sin)
    ops.store_kv(k, v, cache, slots)
    attended = ops.paged_attention(q, cache, query_start, context_lens, block_tables, head_dim**-0.5, is_decode)
    hidden = hidden + ops.linear(attended.view(-1, heads * head_dim), weights.o, hidden_size)

    x = rms_norm(hidden, weights.post_norm, eps)
    gated = swiglu(ops.linear(x, weights.gate_up, 2 * intermediate))  # [T, I]
    out: torch.Tensor = hidden + ops.linear(gated, weights.down, hidden_size)
    return out


plain_layers: LayersFn = layer_by_layer(decoder_layer)


class Qwen3ForCausalLM:
    """A dense Qwen3 as a function of tensors. It keeps no state between calls: the cache comes in as an argument."""

    def __init__(
        self,
        config: ModelConfig,
        weights: ModelWeights,
        *,
        layers_fn: LayersFn = plain_layers,
        max_model_len: int | None = None,
    ) -> None:
        self.config = config
        self.weights = weights
        self.layers_fn = layers_fn
        self.device = weights.embedding.device
        self.dtype = weights.embedding.dtype
        self.cos, self.sin = rope_tables(config, self.device, max_model_len)  # [max_model_len, D / 2]

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        vocab_limit: int | None = None,
        quantize: Quantization = "none",
        layers_fn: LayersFn = plain_layers,
        max_model_len: int | None = None,
    ) -> Self:
        """Loads a checkpoint in the layout of transformers.

        Args:
            folder: `config.json` and `model.safetensors` or `model.safetensors.index.json` with its shards.
            dtype: Of weights and activations; the checkpoint's own dtype is converted.
            device: Where the weights go.
            vocab_limit: The tokenizer's size. Ids from there on are padding: no logits are computed for them.
            quantize: "int8" rounds the weights of all products to 8 bits, and their inputs (`model.ops.int8`).
            layers_fn: How a step goes through the layers.
            max_model_len: Tokens of the longest context that will be run; None is the model's own.

        Raises:
            ModelUnusable: The folder holds no such model, or a damaged one.
        """
        config = ModelConfig.from_folder(folder)
        weights = load_model_weights(
            Path(folder),
            config,
            dtype=dtype,
            device=torch.device(device),
            vocab_limit=vocab_limit,
            quantize=quantize,
        )
        return cls(config, weights, layers_fn=layers_fn, max_model_len=max_model_len)

    @property
    def valid_vocab(self) -> int:
        """Ids that can be generated: the columns of `logits`."""
        return self.weights.valid_vocab

    def forward(
        self, token_ids: torch.Tensor, metadata: AttentionMetadata, cache: PagedKVCache, *, last_only: bool = False
    ) -> torch.Tensor:
        """Runs a step and fills the cache.

        Args:
            token_ids: [T] int64, below `valid_vocab`.
            metadata: Where they stand.
            cache: Changed in place.
            last_only: Whether only the last token of each sequence is wanted: those to sample from.

        Returns:
            Hidden states [T, E], or [sequences, E], the final norm included.
        """
        hidden = rows_of(self.weights.embedding, token_ids)
        cos, sin = self.cos[metadata.positions], self.sin[metadata.positions]
        hidden = self.layers_fn(hidden, self.weights.layers, cache, cos, sin, metadata, last_only)
        return rms_norm(hidden, self.weights.final_norm, self.config.rms_norm_eps)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states [n, E] to float32 logits [n, valid_vocab]."""
        return self.rounded_logits(hidden).float()

    def rounded_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same in the model's dtype, in which they are computed: half the memory, the same order."""
        return linear(hidden, self.weights.lm_head, self.valid_vocab)

    def largest_logits(self, hidden: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Of hidden states [n, E] the `counts` [n] int64 largest of `rounded_logits`, bit by bit, and their ids.

        See `OutputScreen.largest`; None, too, where there is no screen.
        """
        weights = self.weights
        if weights.screen is None:
            return None
        return weights.screen.largest(hidden, weights.lm_head, counts, weights.valid_vocab)
