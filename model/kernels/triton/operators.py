"""The operators of `model/ops` on CUDA devices: from here on Triton kernels serve them.

Importing this module needs the package triton; plain PyTorch serves a device for which nothing is registered.
"""

from __future__ import annotations

import functools

import torch

from model.kernels.triton.decode_attention import decode_attention
from model.kernels.triton.prefill_attention import prefill_attention
from model.kernels.triton.store_kv import store_kv
from model.kernels.triton.tiles import page_size_fits
from model.ops import attention, kv_store  # noqa: F401 - defines the operators
from model.ops.library import LIBRARY


@functools.cache  # an operator takes one kernel a device
def register_for_cuda() -> None:
    """Serve `qwen_batch::paged_attention` and `qwen_batch::store_kv` on CUDA devices, in this process."""
    LIBRARY.impl("paged_attention", paged_attention, "CUDA")  # type: ignore[no-untyped-call]
    LIBRARY.impl("store_kv", store_kv, "CUDA")  # type: ignore[no-untyped-call]


def paged_attention(  # the operator's schema
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    block_tables: torch.Tensor,
    scale: float,
    is_decode: bool,
) -> torch.Tensor:
    """As `model.ops.attention.reference_paged_attention`, which also runs where pages are no tile."""
    arguments = (q, cache, query_start, context_lens, block_tables, scale)
    if not page_size_fits(cache.shape[3]):
        return attention.reference_paged_attention(*arguments, is_decode)
    if is_decode:
        return decode_attention(q, cache, context_lens, block_tables, scale)
    return prefill_attention(*arguments)
