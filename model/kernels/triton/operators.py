"""Registration of the Triton kernels for the operators of `model/ops` on CUDA devices.

Importing this module needs the package triton. Without registration, plain PyTorch runs the operators.
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


@functools.cache  # PyTorch accepts one kernel per operator and device
def register_for_cuda() -> None:
    """Register the kernels of `qwen_batch::paged_attention` and `qwen_batch::store_kv` in this process."""
    LIBRARY.impl("paged_attention", paged_attention, "CUDA")  # type: ignore[no-untyped-call]
    LIBRARY.impl("store_kv", store_kv, "CUDA")  # type: ignore[no-untyped-call]


def paged_attention(  # the arguments are those of the operator's schema
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
    is_decode: bool,
) -> torch.Tensor:
    """Compute attention as `model.ops.attention.reference_paged_attention` does.

    For page sizes that cannot be tiles, that function runs instead of the kernels.
    """
    arguments = (q, cache, query_start, context_lens, page_tables, scale)
    if not page_size_fits(cache.shape[3]):
        return attention.reference_paged_attention(*arguments, is_decode)
    if is_decode:
        return decode_attention(q, cache, context_lens, page_tables, scale)
    return prefill_attention(*arguments)
