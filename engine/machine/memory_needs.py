"""What a model needs beside its cache, counted from its shape before anything is loaded."""

from __future__ import annotations

import math

import torch

from engine.config import QuantizeName
from model.checkpoint.config import ModelConfig
from model.checkpoint.load import EMBEDDING, LM_HEAD, expected_shapes
from model.kernels.triton.splits import SPLIT_TOKENS
from model.ops.int8 import quantised_bytes

FLOAT_BYTES = 4
ROW_BYTES_OF_A_TOKEN = 12  # a row's logits, the same in float32, and what sampling makes of them
# Rows whose whole vocabulary is weighed at once (`model.sampling.draw`), and bytes per token of it.
WEIGHED_ROWS, WEIGHED_BYTES = 64, 24


def weight_bytes(
    model: ModelConfig, dtype: torch.dtype, quantize: QuantizeName = "none", *, packed: bool = True
) -> int:
    """Memory of a model's weights.

    Args:
        model: Its shape.
        dtype: Of what is not quantised.
        quantize: What becomes of the weights of products.
        packed: Whether weights are repacked (CPU). A tied output layer then needs extra memory: a packed copy, or,
            where one packed copy serves both, its 8-bit screen (`model.sampling.output_screen`). Which applies is
            known only at load time, so the larger is counted. An output layer of its own may have a screen, too.
    """
    shapes = expected_shapes(model)
    tied = model.tie_word_embeddings
    if tied and not packed:
        del shapes[LM_HEAD]
    if quantize == "none":
        screen = quantised_bytes(*shapes[LM_HEAD]) if packed and not tied and dtype == torch.bfloat16 else 0
        return sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize + screen
    exact = math.prod(shapes.pop(EMBEDDING)) + sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    products = sum(quantised_bytes(shape[0], shape[1]) for shape in shapes.values() if len(shape) > 1)
    return exact * dtype.itemsize + products


def step_bytes(model: ModelConfig, dtype: torch.dtype, max_tokens: int, max_seqs: int, max_len: int) -> int:
    """An upper estimate of what the largest step holds at once beside weights and cache.

    Args:
        model: Its shape.
        dtype: Of activations.
        max_tokens: Of a prefill step.
        max_seqs: Of any step.
        max_len: Tokens of the longest context.
    """
    heads = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    # Of one layer: hidden states in and out, normed ones, their products before and after norm and rotation, the gate.
    layer = max_tokens * (4 * model.hidden_size + 2 * heads + 3 * model.intermediate_size) * dtype.itemsize
    sampling = model.vocab_size * (max_seqs * ROW_BYTES_OF_A_TOKEN + min(max_seqs, WEIGHED_ROWS) * WEIGHED_BYTES)
    # Of contexts on a GPU, whose sums lie apart until they are added.
    splits = max_seqs * -(-max_len // SPLIT_TOKENS) * model.num_heads * (model.head_dim + 2) * FLOAT_BYTES
    return layer + sampling + splits
