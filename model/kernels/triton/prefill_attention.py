"""Prefill attention on a GPU: blocks of queries against the pages of their own sequence.

Blocks of queries and of keys lie at absolute positions of the sequence, so a query stands in the same row of the same
tile however its prompt is cut into chunks, and sees the same blocks of keys in the same order: it gets the same bits.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from model.kernels.triton.tiles import dot_precision, launch_options, padded_head_dim

BLOCK = 64  # queries of a block


@triton.jit(do_not_specialize=["num_seqs", "table_width"])
def _attend_to_block(
    out: tl.tensor,  # [num_tokens, query heads, DIM]
    q: tl.tensor,  # the same
    cache: tl.tensor,  # [pages, 2, kv heads, PAGE, DIM]
    query_start: tl.tensor,
    context_lens: tl.tensor,
    block_tables: tl.tensor,  # [num_seqs, table_width]
    num_seqs: int,
    table_width: int,
    score_scale: float,  # log2(e) included: weights are powers of two
    GROUP: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,  # DIM filled up to a power of two
    PAGE: tl.constexpr,
    QUERIES: tl.constexpr,  # of a block
    PRECISION: tl.constexpr,
) -> None:
    # Heads that share keys run side by side; late blocks see most keys and begin first, so that none is left to last.
    query_head, heads = tl.program_id(0), tl.num_programs(0)
    number = tl.num_programs(1) - 1 - tl.program_id(1)
    kv_heads, head = heads // GROUP, query_head // GROUP
    # Sequence s has the programs from query_start[s] // QUERIES + 2 s on: n tokens stand in at most n // QUERIES + 2
    # blocks. Find the last sequence that begins at or before this program.
    low, high = 0, num_seqs
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(query_start + middle) // QUERIES + 2 * middle <= number:
            low = middle
        else:
            high = middle
    sequence = low
    begin, end = tl.load(query_start + sequence), tl.load(query_start + sequence + 1)
    length = tl.load(context_lens + sequence)
    first = length - (end - begin)  # position of the first query
    block = first // QUERIES + number - (begin // QUERIES + 2 * sequence)
    if block * QUERIES >= length:
        return
    dims, places = tl.arange(0, WIDTH), tl.arange(0, PAGE)
    positions = block * QUERIES + tl.arange(0, QUERIES)
    in_head, in_step = dims[None, :] < DIM, (positions >= first) & (positions < length)
    rows = (begin + positions - first).to(tl.int64) * heads + query_head
    numbers = rows[:, None] * DIM + dims[None, :]
    queries = tl.load(q + numbers, mask=in_step[:, None] & in_head, other=0.0)
    inside = places[:, None] * DIM + dims[None, :]
    largest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    summed = tl.zeros([QUERIES, WIDTH], tl.float32)
    for index in range(0, tl.cdiv(tl.minimum((block + 1) * QUERIES, length), PAGE)):
        page = tl.load(block_tables + tl.cast(sequence, tl.int64) * table_width + index).to(tl.int64)
        start = cache + (page * 2 * kv_heads + head) * (PAGE * DIM)
        tokens = index * PAGE + places
        readable = (tokens < length)[:, None] & in_head
        keys = tl.load(start + inside, mask=readable, other=0.0)
        values = tl.load(start + kv_heads * (PAGE * DIM) + inside, mask=readable, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * score_scale
        scores = tl.where(tokens[None, :] <= positions[:, None], scores, float("-inf"))
        now_largest = tl.maximum(largest, tl.max(scores, 1))
        kept = tl.exp2(largest - now_largest)
        each = tl.exp2(scores - now_largest[:, None])
        total = total * kept + tl.sum(each, 1)
        summed = summed * kept[:, None]
        summed = tl.dot(each.to(values.dtype), values, summed, input_precision=PRECISION)
        largest = now_largest
    tl.store(out + numbers, (summed / total[:, None]).to(out.dtype.element_ty), mask=in_step[:, None] & in_head)


def prefill_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    block_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Many queries a sequence; shapes as in `model.ops.attention.reference_paged_attention`.

    Nothing here waits for the device: which block belongs to which sequence is found by the programs themselves, of
    which there are enough for any lengths that add up to `num_tokens`.
    """
    q, block_tables = q.contiguous(), block_tables.contiguous()
    num_tokens, num_heads, head_dim = q.shape
    num_seqs = len(context_lens)
    out = torch.empty_like(q)
    _attend_to_block[num_heads, num_tokens // BLOCK + 2 * num_seqs](
        out,
        q,
        cache,
        query_start,
        context_lens,
        block_tables,
        num_seqs,
        block_tables.shape[1],
        scale * math.log2(math.e),
        GROUP=num_heads // cache.shape[2],
        DIM=head_dim,
        WIDTH=padded_head_dim(head_dim),
        PAGE=cache.shape[3],
        QUERIES=BLOCK,
        PRECISION=dot_precision(q.dtype),
        **launch_options(q.dtype),
    )
    return out
