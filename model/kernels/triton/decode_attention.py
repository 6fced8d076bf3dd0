"""Decode attention on a GPU: one query per sequence, with the context divided into splits of equal size.

Without splits, a single program would process a long context while the rest of the GPU waits (flash-decoding). Splits
begin at multiples of `SPLIT_TOKENS` for every batch. One program sums a split from its first token to its last, and
the splits' sums are added in order. The bits therefore depend neither on the number of programs nor on their splits.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from model.kernels.triton.tiles import SPLIT_TOKENS, dot_precision, launch_options, padded_head_dim

PROGRAMS = 4096  # several times the number that a large GPU runs at once, so that contexts of different length balance
MIN_ROWS = 16  # minimum rows of a tile for tensor cores; a group's queries are padded with zeros


@triton.jit(do_not_specialize=["table_width", "num_splits"])
def _attend_to_splits(
    sums: tl.tensor,  # output [num_seqs, kv heads, splits, GROUP, DIM] float32, weighted sums of values
    stats: tl.tensor,  # output [num_seqs, kv heads, splits, GROUP, 2] float32, largest score and sum of weights
    q: tl.tensor,  # [num_seqs, kv heads * GROUP, DIM]
    cache: tl.tensor,  # [pages, 2, kv heads, PAGE, DIM]
    context_lens: tl.tensor,
    page_tables: tl.tensor,  # [num_seqs, table_width]
    table_width: int,
    num_splits: int,
    score_scale: float,  # includes log2(e), because weights are powers of two
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,  # DIM rounded up to a power of two
    PAGE: tl.constexpr,
    SPLIT_PAGES: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    sequence, head, program = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    kv_heads = tl.num_programs(1)
    rows, dims, places = tl.arange(0, ROWS), tl.arange(0, WIDTH), tl.arange(0, PAGE)
    in_head, in_group = dims[None, :] < DIM, rows < GROUP
    length = tl.load(context_lens + sequence)
    num_pages = tl.cdiv(length, PAGE)
    pair = (sequence * kv_heads + head).to(tl.int64)
    queries = tl.load(
        q + (pair * GROUP + rows[:, None]) * DIM + dims[None, :], mask=in_group[:, None] & in_head, other=0.0
    )
    inside = places[:, None] * DIM + dims[None, :]
    for split in range(program, tl.cdiv(num_pages, SPLIT_PAGES), tl.num_programs(2)):
        row_max = tl.full([ROWS], float("-inf"), tl.float32)
        row_sum = tl.zeros([ROWS], tl.float32)
        acc = tl.zeros([ROWS, WIDTH], tl.float32)
        for index in range(split * SPLIT_PAGES, tl.minimum((split + 1) * SPLIT_PAGES, num_pages)):
            page = tl.load(page_tables + sequence * table_width + index).to(tl.int64)
            start = cache + (page * 2 * kv_heads + head) * (PAGE * DIM)
            known = index * PAGE + places < length
            readable = known[:, None] & in_head
            keys = tl.load(start + inside, mask=readable, other=0.0)
            values = tl.load(start + kv_heads * (PAGE * DIM) + inside, mask=readable, other=0.0)
            scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * score_scale
            scores = tl.where(known[None, :], scores, float("-inf"))
            new_max = tl.maximum(row_max, tl.max(scores, 1))
            rescale = tl.exp2(row_max - new_max)
            weights = tl.exp2(scores - new_max[:, None])
            row_sum = row_sum * rescale + tl.sum(weights, 1)
            acc = acc * rescale[:, None]
            acc = tl.dot(weights.to(values.dtype), values, acc, input_precision=PRECISION)
            row_max = new_max
        row = (pair * num_splits + split) * GROUP + rows
        tl.store(sums + row[:, None] * DIM + dims[None, :], acc, mask=in_group[:, None] & in_head)
        tl.store(stats + row * 2, row_max, mask=in_group)
        tl.store(stats + row * 2 + 1, row_sum, mask=in_group)


@triton.jit(do_not_specialize=["num_splits"])
def _add_splits(
    out: tl.tensor,  # [num_seqs, kv heads * GROUP, DIM]
    sums: tl.tensor,
    stats: tl.tensor,
    context_lens: tl.tensor,
    num_splits: int,
    GROUP: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    SPLIT: tl.constexpr,  # tokens per split
) -> None:
    sequence, query_head, heads = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    dims = tl.arange(0, WIDTH)
    pair = (sequence * (heads // GROUP) + query_head // GROUP).to(tl.int64)
    row_max = tl.full([1], float("-inf"), tl.float32)
    row_sum = tl.zeros([1], tl.float32)
    acc = tl.zeros([WIDTH], tl.float32)
    one = tl.arange(0, 1)
    for split in range(0, tl.cdiv(tl.load(context_lens + sequence), SPLIT)):
        row = (pair * num_splits + split) * GROUP + query_head % GROUP
        split_max = tl.load(stats + row * 2 + one)
        new_max = tl.maximum(row_max, split_max)
        rescale, split_scale = tl.exp2(row_max - new_max), tl.exp2(split_max - new_max)
        row_sum = row_sum * rescale + tl.load(stats + row * 2 + 1 + one) * split_scale
        acc = acc * rescale + tl.load(sums + row * DIM + dims, mask=dims < DIM, other=0.0) * split_scale
        row_max = new_max
    target = out + (sequence.to(tl.int64) * heads + query_head) * DIM + dims
    tl.store(target, (acc / row_sum).to(out.dtype.element_ty), mask=dims < DIM)


def decode_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute attention for one query per sequence.

    Shapes are those of `model.ops.attention.reference_paged_attention`. The code never waits for the device, and its
    launches depend only on shapes. Therefore a CUDA graph can record it.
    """
    q, page_tables = q.contiguous(), page_tables.contiguous()
    num_seqs, num_heads, head_dim = q.shape
    num_kv_heads, page_size = cache.shape[2:4]
    group = num_heads // num_kv_heads
    split_pages = max(1, SPLIT_TOKENS // page_size)
    num_splits = -(-page_tables.shape[1] // split_pages)
    pairs = num_seqs * num_kv_heads
    sums = q.new_empty(pairs * num_splits * group * head_dim, dtype=torch.float32)
    stats = q.new_empty(pairs * num_splits * group * 2, dtype=torch.float32)
    out = torch.empty_like(q)
    width = padded_head_dim(head_dim)
    _attend_to_splits[num_seqs, num_kv_heads, min(num_splits, max(1, PROGRAMS // pairs))](
        sums,
        stats,
        q,
        cache,
        context_lens,
        page_tables,
        page_tables.shape[1],
        num_splits,
        scale * math.log2(math.e),
        GROUP=group,
        ROWS=max(MIN_ROWS, triton.next_power_of_2(group)),
        DIM=head_dim,
        WIDTH=width,
        PAGE=page_size,
        SPLIT_PAGES=split_pages,
        PRECISION=dot_precision(q.dtype),
        **launch_options(q.dtype),
    )
    _add_splits[num_seqs, num_heads](
        out,
        sums,
        stats,
        context_lens,
        num_splits,
        GROUP=group,
        DIM=head_dim,
        WIDTH=width,
        SPLIT=split_pages * page_size,
        **launch_options(q.dtype),
    )
    return out
