"""`qwen_batch::paged_attention`: queries against the cached keys and values of their own sequence.

The operator runs `reference_paged_attention` wherever no faster kernel is registered for the tensors' device. A C++
kernel takes over by registering for a device key (`TORCH_LIBRARY_IMPL(qwen_batch, CPU, m)`): the dispatcher prefers it.
"""

from __future__ import annotations

import torch

from model.ops.decode_reference import decode_attention
from model.ops.library import ANY_DEVICE, LIBRARY
from model.ops.prefill_reference import prefill_attention

LIBRARY.define(
    "paged_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor query_start, Tensor context_lens, "
    "Tensor block_tables, float scale, bool is_decode) -> Tensor"
)


def reference_paged_attention(  # noqa: PLR0913 — the operator's schema
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    block_tables: torch.Tensor,
    scale: float,
    is_decode: bool,
) -> torch.Tensor:
    """Causal attention; a query sees its own sequence up to its own position.

    The bits of a row depend on that row's query, position and keys alone: not on its neighbours, not on the width of
    `block_tables`, and in prefill not on where the prompt was cut into chunks.

    Args:
        q: [num_tokens, num_heads, head_dim]; a sequence's tokens are the last ones of its context
        k_cache: [num_pages, num_kv_heads, page_size, head_dim], this step's keys already stored
        v_cache: the same
        query_start: [num_seqs + 1] int32, where each sequence's tokens begin
        context_lens: [num_seqs] int32, tokens in the cache
        block_tables: [num_seqs, max_pages] int32, unused entries are ignored
        scale: factor on the dot products, head_dim ** -0.5
        is_decode: one token a sequence

    Returns:
        [num_tokens, num_heads, head_dim], as q.
    """
    if is_decode:
        return decode_attention(q, k_cache, v_cache, context_lens, block_tables, scale)
    return prefill_attention(q, k_cache, v_cache, query_start, context_lens, block_tables, scale)


LIBRARY.impl("paged_attention", reference_paged_attention, ANY_DEVICE)


@torch.library.register_fake("qwen_batch::paged_attention", lib=LIBRARY)
def _paged_attention_fake(  # noqa: PLR0913 — the operator's schema
    q: torch.Tensor,
    k_cache: torch.Tensor,  # noqa: ARG001
    v_cache: torch.Tensor,  # noqa: ARG001
    query_start: torch.Tensor,  # noqa: ARG001
    context_lens: torch.Tensor,  # noqa: ARG001
    block_tables: torch.Tensor,  # noqa: ARG001
    scale: float,  # noqa: ARG001
    is_decode: bool,  # noqa: ARG001
) -> torch.Tensor:
    return q.new_empty(q.shape)
