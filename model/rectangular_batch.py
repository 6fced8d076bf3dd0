"""A batch of sequences of equal length, as in the book, on top of the paged cache."""

from __future__ import annotations

import torch

from jobs.errors import InvalidInput
from model.attention_metadata import AttentionMetadata
from model.kv_cache import PagedKVCache
from model.qwen3 import Qwen3ForCausalLM

PAGE_SIZE = 64  # tokens


class RectangularBatch:
    """Runs steps of `num_rows` sequences of equal length, with a cache for at most `max_tokens` tokens each."""

    def __init__(self, model: Qwen3ForCausalLM, num_rows: int, max_tokens: int) -> None:
        """Allocate the cache. Raises `InvalidInput` if `max_tokens` exceeds the model's context."""
        limit = model.config.max_position_embeddings
        if max_tokens > limit:
            raise InvalidInput(f"Prompt and completion have {max_tokens} tokens; this model takes at most {limit}.")
        self._model = model
        pages_per_row = -(-max_tokens // PAGE_SIZE)
        num_pages = num_rows * pages_per_row
        self._cache = PagedKVCache(model.config, num_pages, PAGE_SIZE, model.device, model.dtype)
        pages = torch.arange(num_pages, dtype=torch.int32, device=model.device)
        self._page_tables = pages.view(num_rows, pages_per_row)

    @torch.inference_mode()
    def next_logits(self, token_ids: torch.Tensor, start: int) -> torch.Tensor:
        """Run the rows' tokens at positions start, start + 1, ... and store their keys and values.

        Args:
            token_ids: [num_rows, num_tokens] int64, with at least one token per row.
            start: Number of tokens per row that are already in the cache.

        Returns:
            Float32 logits [num_rows, valid_vocab] of the token after each row's last one.
        """
        num_tokens = token_ids.shape[1]
        metadata = self._metadata(num_tokens, start)
        hidden = self._model.forward(token_ids.flatten(), metadata, self._cache, last_only=True)
        return self._model.logits(hidden)

    def _metadata(self, num_tokens: int, start: int) -> AttentionMetadata:
        num_rows = self._page_tables.shape[0]
        device = self._page_tables.device
        positions = torch.arange(start, start + num_tokens, device=device)
        slots = self._page_tables[:, positions // PAGE_SIZE] * PAGE_SIZE + positions % PAGE_SIZE
        return AttentionMetadata(
            positions=positions.repeat(num_rows),
            slots=slots.flatten().long(),
            query_start=torch.arange(num_rows + 1, dtype=torch.int32, device=device) * num_tokens,
            context_lens=torch.full((num_rows,), start + num_tokens, dtype=torch.int32, device=device),
            page_tables=self._page_tables,
            num_decodes=num_rows if num_tokens == 1 and start > 0 else 0,
        )
