"""Qwen3 for training.

It computes the same function as `model/qwen3.py`, but for autograd and rows of many short samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The demo model's sizes, named as in config.json."""

    vocab_size: int
    hidden_size: int = 128
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 384
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0


class RMSNorm(nn.Module):
    """RMS normalisation over the last dimension, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rotary_tables(positions: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [rows, 1, tokens, head_dim]. Both halves of the last axis are equal."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = positions[:, None, :, None].float() * shape.rope_theta**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    cosines, sines = tables
    first, second = x.chunk(2, dim=-1)
    return x * cosines.to(x.dtype) + torch.cat((-second, first), dim=-1) * sines.to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with norms of queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        key_value_size = shape.num_key_value_heads * shape.head_dim
        query_size = shape.num_attention_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, query_size, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, key_value_size, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, key_value_size, bias=False)
        self.o_proj = nn.Linear(query_size, shape.hidden_size, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.rms_norm_eps)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        rows, tokens, _ = x.shape
        heads = (rows, tokens, -1, self.shape.head_dim)
        queries = _rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), tables)
        keys = _rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), tables)
        values = self.v_proj(x).view(heads).transpose(1, 2)
        group = self.shape.num_attention_heads // self.shape.num_key_value_heads
        keys, values = keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1)
        # For this size, plain operations are faster than scaled_dot_product_attention on a CPU.
        scores = (queries @ keys.transpose(-1, -2)).float() * self.shape.head_dim**-0.5 + mask
        attended = scores.softmax(dim=-1).to(values.dtype) @ values
        output: Tensor = self.o_proj(attended.transpose(1, 2).reshape(rows, tokens, -1))
        return output


class FeedForward(nn.Module):
    """The feed-forward network, SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return output


class Layer(nn.Module):
    """One transformer layer. Its parameters have the names of Qwen3's checkpoints."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        attended: Tensor = x + self.self_attn(self.input_layernorm(x), tables, mask)
        output: Tensor = attended + self.mlp(self.post_attention_layernorm(attended))
        return output


class TrainingQwen3(nn.Module):
    """The network, from token ids to logits. The embedding is also the output matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)

    def forward(self, token_ids: Tensor, positions: Tensor, samples: Tensor, places: Tensor) -> Tensor:
        """Return logits [places, vocab] at these places of the flattened rows.

        The other arguments are [rows, tokens]. A token attends to itself and to earlier tokens of its own sample.
        """
        tokens = token_ids.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        visible = (samples[:, :, None] == samples[:, None, :]) & causal
        mask = torch.zeros(visible.shape).masked_fill(~visible, -1e9)[:, None]
        tables = rotary_tables(positions, self.shape)
        x = self.embed_tokens(token_ids)
        for layer in self.layers:
            x = layer(x, tables, mask)
        return F.linear(self.norm(x.flatten(0, 1)[places]), self.embed_tokens.weight)
