"""Prefill attention on a GPU: blocks of queries attend to the pages of their own sequence.

Blocks of queries and of keys begin at absolute positions of the sequence. Therefore a query's row in its tile, its
blocks of keys and their order do not depend on the split of the prompt into chunks. Neither do the bits of its result.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from model.kernels.triton.tiles import dot_precision, launch_options, padded_head_dim

BLOCK = 64  # queries per block


@triton.jit(do_not_specialize=["num_seqs", "table_width"])
def _attend_to_block(
    out: tl.tensor,  # [num_tokens, query heads, DIM]
    q: tl.tensor,  # [num_tokens, query heads, DIM]
    cache: tl.tensor,  # [pages, 2, kv heads, PAGE, DIM]
    query_start: tl.tensor,
    context_lens: tl.tensor,
    page_tables: tl.tensor,  # [num_seqs, table_width]
    num_seqs: int,
    table_width: int,
    score_scale: float,  # includes log2(e), because weights are powers of two
    GROUP: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,  # DIM rounded up to a power of two
    PAGE: tl.constexpr,
    QUERIES: tl.constexpr,  # queries per block
    PRECISION: tl.constexpr,
) -> None:
    # Heads that share keys run next to each other. The last blocks read most keys and start first, so that no long
    # block runs alone at the end.
    query_head, heads = tl.program_id(0), tl.num_programs(0)
    number = tl.num_programs(1) - 1 - tl.program_id(1)
    kv_heads, head = heads // GROUP, query_head // GROUP
    # n tokens lie in at most n // QUERIES + 2 blocks. The programs of sequence s therefore begin at number
    # query_start[s] // QUERIES + 2 s. Find the last sequence that begins at or before this program.
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
    row_max = tl.full([QUERIES], float("-inf"), tl.float32)
    row_sum = tl.zeros([QUERIES], tl.float32)
    acc = tl.zeros([QUERIES, WIDTH], tl.float32)
    for index in range(0, tl.cdiv(tl.minimum((block + 1) * QUERIES, length), PAGE)):
        page = tl.load(page_tables + tl.cast(sequence, tl.int64) * table_width + index).to(tl.int64)
        start = cache + (page * 2 * kv_heads + head) * (PAGE * DIM)
        tokens = index * PAGE + places
        readable = (tokens < length)[:, None] & in_head
        keys = tl.load(start + inside, mask=readable, other=0.0)
        values = tl.load(start + kv_heads * (PAGE * DIM) + inside, mask=readable, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * score_scale
        scores = tl.where(tokens[None, :] <= positions[:, None], scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        rescale = tl.exp2(row_max - new_max)
        weights = tl.exp2(scores - new_max[:, None])
        row_sum = row_sum * rescale + tl.sum(weights, 1)
        acc = acc * rescale[:, None]
        acc = tl.dot(weights.to(values.dtype), values, acc, input_precision=PRECISION)
        row_max = new_max
    tl.store(out + numbers, (acc / row_sum[:, None]).to(out.dtype.element_ty), mask=in_step[:, None] & in_head)


def prefill_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute attention for many queries per sequence.

    Shapes are those of `model.ops.attention.reference_paged_attention`. The code never waits for the device: each
    program finds its sequence and block itself. The number of programs suffices for any lengths with the sum
    `num_tokens`.
    """
    q, page_tables = q.contiguous(), page_tables.contiguous()
    num_tokens, num_heads, head_dim = q.shape
    num_seqs = len(context_lens)
    out = torch.empty_like(q)
    _attend_to_block[num_heads, num_tokens // BLOCK + 2 * num_seqs](
        out,
        q,
        cache,
        query_start,
        context_lens,
        page_tables,
        num_seqs,
        page_tables.shape[1],
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
