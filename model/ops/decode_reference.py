"""Decode attention in plain PyTorch: one query a sequence."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from model.ops.page_gather import gather_pages

GATHERED_TOKENS = 8_192  # tokens copied out of the pages at once: bounds the memory of long contexts


def decode_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    context_lens: torch.Tensor,
    block_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """One query a sequence against its cache; shapes as in `reference_paged_attention`.

    Sequences with the same number of pages run together. The shape a sequence is computed in then follows from its own
    length, and attention treats the sequences of a batch apart: its bits do not depend on its neighbours.
    """
    num_seqs, num_heads, head_dim = q.shape
    num_kv_heads, page_size = cache.shape[2:4]
    queries = q.view(num_seqs, num_kv_heads, num_heads // num_kv_heads, head_dim)
    out = torch.empty_like(queries)
    for rows in _rows_by_page_count(context_lens.tolist(), page_size):
        num_pages = -(-int(context_lens[rows[0]]) // page_size)
        index = torch.tensor(rows, device=q.device)
        pages = block_tables[index, :num_pages]
        places = torch.arange(num_pages * page_size, device=q.device)
        valid = places[None, :] < context_lens[index, None]  # [rows, tokens]
        keys, values = gather_pages(cache, pages)
        out[index] = scaled_dot_product_attention(
            queries[index],
            keys,
            values,
            attn_mask=valid[:, None, None, :],
            scale=scale,
        )
    return out.view_as(q)


def _rows_by_page_count(context_lens: list[int], page_size: int) -> list[list[int]]:
    """Sequences of equal page count, in groups of at most `GATHERED_TOKENS` tokens (one sequence at least)."""
    by_count: dict[int, list[int]] = {}
    for row, length in enumerate(context_lens):
        by_count.setdefault(-(-length // page_size), []).append(row)
    groups = []
    for num_pages, rows in by_count.items():
        size = max(1, GATHERED_TOKENS // (num_pages * page_size))
        groups += [rows[i : i + size] for i in range(0, len(rows), size)]
    return groups
