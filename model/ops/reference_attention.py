"""Attention in plain PyTorch, for decode and for prefill.

Decode has one query per sequence. Prefill has many, which are computed in blocks at absolute positions.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

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
        keys, values = _gather_pages(cache, pages)
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


def prefill_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute attention of prompts, one sequence after the other. Shapes are those of `reference_paged_attention`."""
    page_size = cache.shape[3]
    out = torch.empty_like(q)
    starts = query_start.tolist()
    for seq, length in enumerate(context_lens.tolist()):
        begin, end = starts[seq], starts[seq + 1]
        pages = page_tables[seq : seq + 1, : -(-length // page_size)]
        keys, values = _gather_pages(cache, pages)  # [1, kv heads, tokens, head_dim]
        first = length - (end - begin)  # position of the first query
        out[begin:end] = _attend_in_blocks(q[begin:end], keys, values, first, page_size, scale)
    return out


def _attend_in_blocks(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, first: int, block: int, scale: float
) -> torch.Tensor:
    """Compute attention of one sequence's queries [n, num_heads, head_dim] at positions first, first + 1, ...

    Block i always holds all positions from i * block to (i + 1) * block - 1. Positions of other steps are empty rows.
    A query therefore has the same row in the same shape for every split of the prompt into chunks, and gets the same
    bits. A block has the length of a page, so all of its keys exist in memory.
    """
    num_kv_heads = keys.shape[1]
    num_queries, num_heads, head_dim = q.shape
    group = num_heads // num_kv_heads
    start = first // block * block
    num_blocks = -(-(first + num_queries - start) // block)
    padded = q.new_zeros(num_blocks * block, num_heads, head_dim)
    padded[first - start : first - start + num_queries] = q
    blocks = padded.view(num_blocks, block, num_kv_heads, group, head_dim).permute(0, 2, 1, 3, 4)
    blocks = blocks.reshape(num_blocks, 1, num_kv_heads, block * group, head_dim)  # merges query axis and group
    out = torch.empty_like(blocks)
    rows = torch.arange(block, device=q.device).repeat_interleave(group)
    for i in range(num_blocks):
        visible = start + (i + 1) * block  # tokens up to the block's end
        causal = torch.arange(visible, device=q.device)[None, :] <= start + i * block + rows[:, None]
        out[i] = scaled_dot_product_attention(
            blocks[i], keys[:, :, :visible], values[:, :, :visible], attn_mask=causal, scale=scale
        )
    out = out.view(num_blocks, num_kv_heads, block, group, head_dim).permute(0, 2, 1, 3, 4)
    return out.reshape(num_blocks * block, num_heads, head_dim)[first - start : first - start + num_queries]


def _gather_pages(cache: torch.Tensor, pages: torch.Tensor) -> torch.Tensor:
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
