"""The shape of the smallest published model, for computations that need no weights."""

from __future__ import annotations

from model.checkpoint.config import ModelConfig

QWEN3_06B = ModelConfig(
    vocab_size=151_936,
    hidden_size=1024,
    intermediate_size=3072,
    num_layers=28,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    rms_norm_eps=1e-6,
    rope_theta=1e6,
    yarn=None,
    max_position_embeddings=40_960,
    tie_word_embeddings=True,
    dtype="bfloat16",
)
