"""Prefill attention in plain PyTorch: many queries per sequence, in blocks at absolute positions."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from model.ops.page_gather import gather_pages


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
        keys, values = gather_pages(cache, pages)  # [1, kv heads, tokens, head_dim]
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
