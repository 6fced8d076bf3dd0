"""This step's keys and values to their slots in the cache, in one launch on a GPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from model.kernels.triton.tiles import launch_options


@triton.jit
def _store_token(
    k: tl.tensor,
    v: tl.tensor,
    cache: tl.tensor,  # [pages, 2, HEADS, PAGE, DIM]
    slots: tl.tensor,
    k_stride: int,  # from token to token
    v_stride: int,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WIDTH: tl.constexpr,  # HEADS * DIM filled up to a power of two
) -> None:
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + token)
    numbers = tl.arange(0, WIDTH)
    known = numbers < HEADS * DIM
    start = cache + (slot // PAGE) * (2 * HEADS * PAGE * DIM) + (slot % PAGE) * DIM
    places = start + (numbers // DIM) * (PAGE * DIM) + numbers % DIM
    tl.store(places, tl.load(k + token * k_stride + numbers, mask=known), mask=known)
    tl.store(places + HEADS * PAGE * DIM, tl.load(v + token * v_stride + numbers, mask=known), mask=known)


def store_kv(k: torch.Tensor, v: torch.Tensor, cache: torch.Tensor, slots: torch.Tensor) -> None:
    """As `model.ops.kv_store.store_kv`, one program a token. Tokens may lie apart, as in a view of q, k and v."""
    num_tokens, num_heads, head_dim = k.shape
    if num_tokens == 0:
        return
    k, v = _packed_heads(k), _packed_heads(v)
    _store_token[(num_tokens,)](
        k,
        v,
        cache,
        slots,
        k.stride(0),
        v.stride(0),
        HEADS=num_heads,
        DIM=head_dim,
        PAGE=cache.shape[3],
        WIDTH=triton.next_power_of_2(num_heads * head_dim),
        **launch_options(k.dtype),
    )


def _packed_heads(rows: torch.Tensor) -> torch.Tensor:
    """A token's heads one behind the other."""
    return rows if rows.stride()[1:] == (rows.shape[2], 1) else rows.contiguous()
