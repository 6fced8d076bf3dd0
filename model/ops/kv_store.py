"""`qwen_batch::store_kv`: this step's keys and values go to their slots in the cache."""

from __future__ import annotations

import torch

from model.ops.library import register


def store_kv(
    k: torch.Tensor, v: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, slots: torch.Tensor
) -> None:
    """Writes row i of `k` and `v` to slot `slots[i]`, that is page `slot // page_size`, place `slot % page_size`.

    Args:
        k: [num_tokens, num_kv_heads, head_dim]
        v: the same
        k_cache: [num_pages, num_kv_heads, page_size, head_dim], changed in place
        v_cache: the same
        slots: [num_tokens] int64; where several rows name one slot of the sink page, any of them wins
    """
    page_size = k_cache.shape[2]
    pages, places = slots // page_size, slots % page_size
    k_cache.transpose(1, 2).index_put_((pages, places), k)
    v_cache.transpose(1, 2).index_put_((pages, places), v)


def _nothing(*_: object) -> None:
    return None


register("store_kv(Tensor k, Tensor v, Tensor(a!) k_cache, Tensor(b!) v_cache, Tensor slots) -> ()", store_kv, _nothing)
