"""`qwen_batch::store_kv`: storing a step's keys and values in their slots of the cache."""

from __future__ import annotations

import torch

from model.ops.library import register


def store_kv(k: torch.Tensor, v: torch.Tensor, cache: torch.Tensor, slots: torch.Tensor) -> None:
    """Write row i of `k` and `v` to slot `slots[i]`: page `slot // page_size`, place `slot % page_size`.

    Args:
        k: Keys [num_tokens, num_kv_heads, head_dim].
        v: Values [num_tokens, num_kv_heads, head_dim].
        cache: [num_pages, 2, num_kv_heads, page_size, head_dim], keys before values. Changed in place.
        slots: [num_tokens] int64. If several rows name one slot of the sink page, any of them may win.
    """
    page_size = cache.shape[3]
    pages, places = slots // page_size, slots % page_size
    for half, rows in enumerate((k, v)):
        cache[:, half].transpose(1, 2).index_put_((pages, places), rows)


def _nothing(*_: object) -> None:
    return None


register("store_kv(Tensor k, Tensor v, Tensor(a!) cache, Tensor slots) -> ()", store_kv, _nothing)
