"""The C++ scatter of keys and values against plain PyTorch."""

from __future__ import annotations

import pytest
import torch

from model.ops.kv_store import store_kv

pytestmark = pytest.mark.usefixtures("built_kernels")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_keys_and_values_go_where_plain_pytorch_puts_them(dtype: torch.dtype) -> None:
    qkv = torch.randn(9, 8, 32).to(dtype)
    _, k, v = qkv.split((4, 2, 2), dim=1)  # views with gaps between tokens, as the layer makes them
    slots = torch.randperm(5 * 64)[:9]
    ours, plain = (torch.zeros(5, 2, 2, 64, 32, dtype=dtype) for _ in range(2))
    torch.ops.qwen_batch.store_kv(k, v, ours, slots)
    store_kv(k, v, plain, slots)
    assert torch.equal(ours, plain)
    assert ours[:, 0].any()
    assert ours[:, 1].any()


@pytest.mark.parametrize("slot", [-1, 128])
def test_a_slot_outside_the_cache_is_refused(slot: int) -> None:
    row, cache = torch.zeros(1, 2, 32), torch.zeros(2, 2, 2, 64, 32)
    with pytest.raises(RuntimeError, match="a slot is outside the cache"):
        torch.ops.qwen_batch.store_kv(row, row, cache, torch.tensor([slot]))
