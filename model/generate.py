"""Greedy generation in its simplest forms, as in chapter 2 of "Build a Reasoning Model (From Scratch)".

These functions show the idea, and the saving from a KV cache. The batch engine does the same work for many sequences
of different lengths. In all functions `token_ids` is [batch, tokens] int64 with rows of equal length. New ids are
[batch, n].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TextIO

import torch

from jobs.errors import InvalidInput
from model.memory.peak_memory import peak_cpu_memory_bytes
from model.qwen3 import Qwen3ForCausalLM
from model.rectangular_batch import RectangularBatch


class Decoder(Protocol):
    """The part of a tokenizer that this module needs."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of the ids."""


def generate_text_basic(
    model: Qwen3ForCausalLM, token_ids: torch.Tensor, max_new_tokens: int, eos_token_id: int | None = None
) -> torch.Tensor:
    """Generate by feeding the whole sequence to the model again for every token.

    Args:
        model: The model.
        token_ids: The prompts [batch, tokens].
        max_new_tokens: Maximum number of new ids per row.
        eos_token_id: Stop when all rows yield this id in the same step. None: run to `max_new_tokens`.

    Returns:
        Only the new ids [batch, n], without the step of `eos_token_id` that ended the generation.

    Raises:
        InvalidInput: The prompt is empty, or prompt and new tokens exceed the model's context.
    """
    return _collect(generate_text_basic_stream(model, token_ids, max_new_tokens, eos_token_id), token_ids)


def generate_text_basic_cache(
    model: Qwen3ForCausalLM, token_ids: torch.Tensor, max_new_tokens: int, eos_token_id: int | None = None
) -> torch.Tensor:
    """Generate like `generate_text_basic`, but feed one token per step and keep earlier keys and values."""
    return _collect(generate_text_basic_stream_cache(model, token_ids, max_new_tokens, eos_token_id), token_ids)


def generate_text_basic_stream(
    model: Qwen3ForCausalLM, token_ids: torch.Tensor, max_new_tokens: int, eos_token_id: int | None = None
) -> Iterator[torch.Tensor]:
    """Generate like `generate_text_basic`, and yield the ids [batch, 1] of each step."""
    batch = _batch(model, token_ids, max_new_tokens)
    for _ in range(max_new_tokens):
        next_ids = batch.next_logits(token_ids, start=0).argmax(dim=-1, keepdim=True)
        if _is_end(next_ids, eos_token_id):
            return
        yield next_ids
        token_ids = torch.cat((token_ids, next_ids), dim=1)


def generate_text_basic_stream_cache(
    model: Qwen3ForCausalLM, token_ids: torch.Tensor, max_new_tokens: int, eos_token_id: int | None = None
) -> Iterator[torch.Tensor]:
    """Generate like `generate_text_basic_cache`, and yield the ids [batch, 1] of each step."""
    batch = _batch(model, token_ids, max_new_tokens)
    num_cached = 0
    for _ in range(max_new_tokens):
        next_ids = batch.next_logits(token_ids, start=num_cached).argmax(dim=-1, keepdim=True)
        if _is_end(next_ids, eos_token_id):
            return
        yield next_ids
        num_cached += token_ids.shape[1]
        token_ids = next_ids


def generate_stats(
    output_token_ids: torch.Tensor,
    tokenizer: Decoder,
    start_time: float,
    end_time: float,
    *,
    file: TextIO,
) -> None:
    """Write the duration, tokens per second, peak memory and the text.

    Args:
        output_token_ids: The new ids of one sequence, [n] or [1, n].
        tokenizer: Turns ids into text.
        start_time: Start of generation in seconds.
        end_time: End of generation in seconds of the same clock.
        file: The file to write to.
    """
    ids = output_token_ids.flatten().tolist()
    seconds = end_time - start_time
    print(f"Time: {seconds:.2f} s", file=file)
    print(f"{len(ids) / seconds:.1f} tokens/s" if seconds > 0 else f"{len(ids)} tokens", file=file)
    print(f"Peak CPU memory: {peak_cpu_memory_bytes() / 1e9:.2f} GB", file=file)
    if torch.cuda.is_available():
        print(f"Peak CUDA memory: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB", file=file)
    print(f"\n{tokenizer.decode(ids)}", file=file)


def _batch(model: Qwen3ForCausalLM, token_ids: torch.Tensor, max_new_tokens: int) -> RectangularBatch:
    num_rows, num_tokens = token_ids.shape
    if num_tokens == 0:
        raise InvalidInput("The prompt is empty; a model needs at least one token to continue from.")
    return RectangularBatch(model, num_rows, num_tokens + max_new_tokens)


def _is_end(next_ids: torch.Tensor, eos_token_id: int | None) -> bool:
    return eos_token_id is not None and bool((next_ids == eos_token_id).all())


def _collect(steps: Iterator[torch.Tensor], token_ids: torch.Tensor) -> torch.Tensor:
    return torch.cat([token_ids[:, :0], *steps], dim=1)
