"""Decode attention in plain PyTorch: one query per sequence."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from model.ops.page_gather import gather_pages

GATHERED_TOKENS = 8_192  # maximum tokens copied out of the pages at once, to bound the memory for long contexts


def decode_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute attention for one query per sequence. Shapes are those of `reference_paged_attention`.

    Sequences with an equal number of pages run together, so the shape of a computation follows from a sequence's own
    length. Attention computes the sequences of a batch separately. Hence a sequence's bits do not depend on the others.
    """
    num_seqs, num_heads, head_dim = q.shape
    num_kv_heads, page_size = cache.shape[2:4]
    queries = q.view(num_seqs, num_kv_heads, num_heads // num_kv_heads, head_dim)
    out = torch.empty_like(queries)
    for rows in _rows_by_page_count(context_lens.tolist(), page_size):
        num_pages = -(-int(context_lens[rows[0]]) // page_size)
        index = torch.tensor(rows, device=q.device)
        pages = page_tables[index, :num_pages]
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
    """Group sequences of equal page count. A group has at most `GATHERED_TOKENS` tokens, or a single sequence."""
    by_count: dict[int, list[int]] = {}
    for row, length in enumerate(context_lens):
        by_count.setdefault(-(-length // page_size), []).append(row)
    groups = []
    for num_pages, rows in by_count.items():
        size = max(1, GATHERED_TOKENS // (num_pages * page_size))
        groups += [rows[i : i + size] for i in range(0, len(rows), size)]
    return groups
