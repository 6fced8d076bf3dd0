"""Gathering keys and values of sequences from their pages into contiguous tensors."""

from __future__ import annotations

import torch


def gather_pages(cache: torch.Tensor, pages: torch.Tensor) -> torch.Tensor:
    """Return keys and values of the tokens in `pages`, in order and per head.

    This takes one `index_select` over (page, head) rows. Indexing pages and then swapping axes would copy twice.

    Args:
        cache: [num_pages, 2, num_kv_heads, page_size, head_dim], contiguous.
        pages: [num_seqs, pages of each] integers.

    Returns:
        [2, num_seqs, num_kv_heads, pages of each * page_size, head_dim], keys before values.
    """
    _, _, num_kv_heads, page_size, head_dim = cache.shape
    num_seqs, num_pages = pages.shape
    heads = torch.arange(2 * num_kv_heads, device=pages.device).view(2, 1, num_kv_heads, 1)
    rows = pages.long()[None, :, None, :] * (2 * num_kv_heads) + heads  # [2, num_seqs, num_kv_heads, pages]
    gathered = cache.view(-1, page_size, head_dim).index_select(0, rows.flatten())
    return gathered.view(2, num_seqs, num_kv_heads, num_pages * page_size, head_dim)
