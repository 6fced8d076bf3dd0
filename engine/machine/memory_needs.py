"""Memory that a model needs besides its cache, computed from its shape before loading."""

from __future__ import annotations

import math

import torch

from engine.config import QuantizeName
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import EMBEDDING, LM_HEAD, ROUTER, expected_shapes
from model.kernels.triton.tiles import SPLIT_TOKENS
from model.ops.linear import quantised_bytes

FLOAT_BYTES = 4
BYTES_PER_LOGIT = 12  # per row and vocabulary entry: the logit, its float32 copy, and sampling's temporaries
# Rows that sampling weighs over the whole vocabulary at once (`model.sampling.draw`), and bytes per vocabulary entry.
WEIGHED_ROWS, WEIGHED_BYTES = 64, 24


def weight_bytes(
    model: ModelConfig,
    dtype: torch.dtype,
    quantize: QuantizeName = "none",
    *,
    packed: bool = True,
) -> int:
    """Return the bytes of a model's weights.

    Args:
        model: The model's configuration, which gives the shapes.
        dtype: Type of all weights that are not quantised.
        quantize: Quantisation of the matrix products' weights.
        packed: True if weights are repacked (on a CPU). A tied output layer then needs extra memory. If it shares one
            packed copy with the embedding, that is an 8-bit screen (`model.sampling.output_screen`). Otherwise it is a
            packed copy. The choice is made at load time, so the larger one is counted. An untied output layer may have
            a screen, too.
    """
    shapes = expected_shapes(model)
    tied = model.tie_word_embeddings
    if not model.has_output_layer or (tied and not packed):
        del shapes[LM_HEAD]
    routers = FLOAT_BYTES * sum(math.prod(shapes.pop(name)) for name in list(shapes) if name.endswith(ROUTER))
    if quantize == "none":
        has_screen = packed and LM_HEAD in shapes and not tied and dtype == torch.bfloat16
        screen = quantised_bytes(shapes[LM_HEAD], "int8") if has_screen else 0
        return sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize + routers + screen
    exact = math.prod(shapes.pop(EMBEDDING)) + sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    output = quantised_bytes(shapes.pop(LM_HEAD), "int8") if LM_HEAD in shapes else 0
    products = sum(quantised_bytes(shape, quantize) for shape in shapes.values() if len(shape) > 1)
    return exact * dtype.itemsize + products + output + routers


def step_bytes(model: ModelConfig, dtype: torch.dtype, max_tokens: int, max_seqs: int, max_len: int) -> int:
    """Return an upper estimate of the bytes that the largest step needs besides weights and cache.

    Args:
        model: The model's configuration, which gives the shapes.
        dtype: Type of activations.
        max_tokens: Maximum tokens of a prefill step.
        max_seqs: Maximum sequences of a step.
        max_len: Tokens of the longest context.
    """
    heads = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    # One layer holds: hidden states in and out, normed ones, Q, K and V before and after norm and rotation, the gate.
    layer = max_tokens * (4 * model.hidden_size + 2 * heads + _mlp_values(model)) * dtype.itemsize
    num_logits = model.vocab_size if model.has_output_layer else 0  # per row
    sampling = num_logits * (max_seqs * BYTES_PER_LOGIT + min(max_seqs, WEIGHED_ROWS) * WEIGHED_BYTES)
    # Partial sums of GPU attention, one per split of a context, until they are added up.
    splits = max_seqs * -(-max_len // SPLIT_TOKENS) * model.num_heads * (model.head_dim + 2) * FLOAT_BYTES
    return layer + sampling + splits


def _mlp_values(model: ModelConfig) -> int:
    """Return the number of values that a token needs in a layer's MLP, or in its experts."""
    experts = model.experts
    if experts is None:
        return 3 * model.intermediate_size
    # Its hidden state for each of its experts, and what they make of it; shares of all experts in float32, and sorted.
    routed = 2 * experts.per_token * model.hidden_size + 8 * experts.count
    return max(3 * model.intermediate_size, routed + 3 * experts.intermediate_size)
