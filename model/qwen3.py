"""The Qwen3 model: its computation, in order and with shapes.

Symbols: T tokens of a step, packed sequence by sequence; E hidden_size; H query heads; KV key-value heads; D head_dim;
I intermediate_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch

from model.attention_metadata import AttentionMetadata
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import load_model_weights
from model.kv_cache import PagedKVCache
from model.layer_weights import ExpertWeights, LayerWeights, ModelWeights
from model.layers import LayersFn, layer_by_layer
from model.ops import attention, experts, kv_store  # noqa: F401 — registers the operators
from model.ops.linear import Quantization, linear
from model.ops.packed_weight import has_readable_rows, is_packed_for_own_kernel, rows_of
from model.ops.swiglu import swiglu
from model.pooling.readings import label_logits
from model.rope import apply_rope, rope_tables


def decoder_layer(  # noqa: PLR0913, PLR0917 — every input of the compiled function is explicit
    hidden: torch.Tensor,  # [T, E]
    weights: LayerWeights,
    cache: torch.Tensor,  # [pages, 2, KV, page size, D], keys before values; changed in place
    cos: torch.Tensor,  # [T, D / 2]
    sin: torch.Tensor,  # [T, D / 2]
    slots: torch.Tensor,  # [T]
    query_start: torch.Tensor,  # [sequences + 1]
    context_lens: torch.Tensor,  # [sequences]
    page_tables: torch.Tensor,  # [sequences, pages of the longest]
    is_decode: bool,
) -> torch.Tensor:
    """Run one layer, from hidden states [T, E] to [T, E]. Its only side effect is on the cache.

    Weights and cache are arguments, so that one compiled version serves all layers (`model.compiled_layer`).
    """
    ops = torch.ops.qwen_batch
    hidden_size, heads, kv_heads, head_dim, intermediate, eps, per_token, normalise = weights.shape

    x = rms_norm(hidden, weights.input_norm, eps)
    qkv = ops.linear(x, weights.qkv, (heads + 2 * kv_heads) * head_dim).view(-1, heads + 2 * kv_heads, head_dim)
    q, k, v = qkv.split((heads, kv_heads, kv_heads), dim=1)  # [T, H, D], [T, KV, D], [T, KV, D]
    q = apply_rope(rms_norm(q, weights.q_norm, eps), cos, sin)
    k = apply_rope(rms_norm(k, weights.k_norm, eps), cos, sin)
    ops.store_kv(k, v, cache, slots)
    attended = ops.paged_attention(q, cache, query_start, context_lens, page_tables, head_dim**-0.5, is_decode)
    hidden = hidden + ops.linear(attended.view(-1, heads * head_dim), weights.o, hidden_size)

    x = rms_norm(hidden, weights.post_norm, eps)
    if isinstance(weights.mlp, ExpertWeights):
        out: torch.Tensor = ops.experts(x, *weights.mlp, intermediate, per_token, normalise)
    else:
        gated = swiglu(ops.linear(x, weights.mlp.gate_up, 2 * intermediate))  # [T, I]
        out = ops.linear(gated, weights.mlp.down, hidden_size)
    return hidden + out


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Return x / rms(x) over the last axis, scaled by `weight`.

    The quotient is computed in float32 and rounded to x's dtype before the scaling. transformers rounds in this order.

    Args:
        x: [..., n]
        weight: [n]
        eps: Added to the mean square.
    """
    exact = x.float()
    normalised = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + eps)
    return weight * normalised.to(x.dtype)


plain_layers: LayersFn = layer_by_layer(decoder_layer)


class Qwen3ForCausalLM:
    """A Qwen3 model. It keeps no state between calls: the cache is an argument."""

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
        """Load a checkpoint in the layout of transformers.

        Args:
            folder: Contains `config.json`, and either `model.safetensors` or `model.safetensors.index.json` with its
                shards.
            dtype: Type of weights and activations. Weights of another type are converted.
            device: Device for the weights.
            vocab_limit: The tokenizer's size. Ids from this one on are padding: no logits are computed for them.
            quantize: "int8" rounds weights and inputs of all matrix products to 8 bits (`model.ops.int8`), "int4"
                rounds the weights to 4 bits (`model.ops.int4`), those of the output layer to 8.
            layers_fn: Runs a step through the layers.
            max_model_len: Maximum tokens of a context; None means the model's limit.

        Raises:
            ModelUnusable: The folder holds no Qwen3 model, or a damaged one.
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
        """Number of ids that can be generated: the columns of `logits`."""
        return self.weights.valid_vocab

    @property
    def generates(self) -> bool:
        """False for an embedding model, which has no output layer."""
        return self.config.has_output_layer

    @property
    def has_packed_output_layer(self) -> bool:
        """True if this project's own kernels multiply the output layer, or if there is none."""
        return self.weights.lm_head is None or is_packed_for_own_kernel(self.weights.lm_head)

    def forward(
        self, token_ids: torch.Tensor, metadata: AttentionMetadata, cache: PagedKVCache, *, last_only: bool = False
    ) -> torch.Tensor:
        """Run a step and store its keys and values in the cache.

        Args:
            token_ids: [T] int64, below `valid_vocab`.
            metadata: Positions of the tokens, and their sequences.
            cache: Changed in place.
            last_only: Return only the last token of each sequence, for sampling.

        Returns:
            Hidden states after the final norm: [T, E], or [sequences, E] with `last_only`.
        """
        hidden = rows_of(self.weights.embedding, token_ids)
        cos, sin = self.cos[metadata.positions], self.sin[metadata.positions]
        hidden = self.layers_fn(hidden, self.weights.layers, cache, cos, sin, metadata, last_only)
        return rms_norm(hidden, self.weights.final_norm, self.config.rms_norm_eps)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits [n, valid_vocab] of hidden states [n, E]."""
        return self.rounded_logits(hidden).float()

    def rounded_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [n, valid_vocab] in the model's dtype, in which they are computed.

        Their order is that of `logits`. In bfloat16 they take half the memory.
        """
        return linear(hidden, self._lm_head, self.valid_vocab)

    def largest_logits(
        self, hidden: torch.Tensor, counts: torch.Tensor, masks: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return each row's `counts` [n] int64 largest logits and their ids, or None.

        The logits of hidden states [n, E] have the bits of `rounded_logits`. Masks, shapes and the reasons for None are
        those of `OutputScreen.largest`. The result is also None if the model has no screen.
        """
        weights = self.weights
        if weights.screen is None:
            return None
        return weights.screen.largest(hidden, self._lm_head, counts, weights.valid_vocab, masks)

    def label_logits(self, hidden: torch.Tensor, token_ids: Sequence[int]) -> torch.Tensor:
        """Return float32 logits [n, labels] of a few tokens for hidden states [n, E].

        If single rows of the output layer can be read, the sums are exact. Otherwise the whole layer is computed.
        """
        weights, ids = self.weights, torch.tensor(token_ids, device=self.device)
        if self.config.tie_word_embeddings:
            return label_logits(hidden, rows_of(weights.embedding, ids))
        if has_readable_rows(self._lm_head):
            return label_logits(hidden, rows_of(self._lm_head, ids))
        return self.logits(hidden)[:, ids]

    @property
    def _lm_head(self) -> torch.Tensor:
        assert self.weights.lm_head is not None, "an embedding model has no output layer"
        return self.weights.lm_head
