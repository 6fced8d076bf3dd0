"""Keys or values of a sequence, taken out of its pages into one contiguous tensor."""

from __future__ import annotations

import torch


def gather_pages(cache: torch.Tensor, pages: torch.Tensor) -> torch.Tensor:
    """The tokens of `pages` in order, head by head.

    One `index_select` over (page, head) rows: indexing pages first and swapping the axes after would copy twice.

    Args:
        cache: [num_pages, num_kv_heads, page_size, head_dim], contiguous
        pages: [num_seqs, pages of each] integers

    Returns:
        [num_seqs, num_kv_heads, pages of each * page_size, head_dim]
    """
    _, num_kv_heads, page_size, head_dim = cache.shape
    num_seqs, num_pages = pages.shape
    heads = torch.arange(num_kv_heads, device=pages.device)
    rows = pages.long()[:, None, :] * num_kv_heads + heads[None, :, None]  # [num_seqs, num_kv_heads, pages]
    gathered = cache.view(-1, page_size, head_dim).index_select(0, rows.flatten())
    return gathered.view(num_seqs, num_kv_heads, num_pages * page_size, head_dim)
