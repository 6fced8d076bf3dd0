"""`qwen_batch::paged_attention`: queries against the cached keys and values of their own sequence.

On a CPU the C++ kernels run where they are built and know the case (`model/kernels/cpu/common/dispatch.cpp`). On a CUDA
device the Triton kernels run (`model/kernels/triton/operators.py`), and everywhere else plain PyTorch.
"""

from __future__ import annotations

import torch

from model.ops.decode_reference import decode_attention
from model.ops.library import register
from model.ops.prefill_reference import prefill_attention


def reference_paged_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
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
        cache: [num_pages, 2, num_kv_heads, page_size, head_dim], keys before values, this step's already stored
        query_start: [num_seqs + 1] int32, where each sequence's tokens begin
        context_lens: [num_seqs] int32, tokens in the cache, at least 1
        block_tables: [num_seqs, max_pages] int32, entries beyond the context are ignored
        scale: factor on the dot products, head_dim ** -0.5
        is_decode: one token a sequence

    Returns:
        [num_tokens, num_heads, head_dim], as q.
    """
    if is_decode:
        return decode_attention(q, cache, context_lens, block_tables, scale)
    return prefill_attention(q, cache, query_start, context_lens, block_tables, scale)


def _like_q(q: torch.Tensor, *_: object) -> torch.Tensor:
    return q.new_empty(q.shape)


register(
    "paged_attention(Tensor q, Tensor cache, Tensor query_start, Tensor context_lens, Tensor block_tables, "
    "float scale, bool is_decode) -> Tensor",
    reference_paged_attention,
    _like_q,
)
