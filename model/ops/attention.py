"""`qwen_batch::paged_attention`: attention of queries to the cached keys and values of their own sequence.

On a CPU the C++ kernels run if they are built and support the case (`model/kernels/cpu/common/dispatch.cpp`). On a CUDA
device the Triton kernels run (`model/kernels/triton/operators.py`). In all other cases plain PyTorch runs.
"""

from __future__ import annotations

import torch

from model.ops.library import register
from model.ops.reference_attention import decode_attention, prefill_attention


def reference_paged_attention(
    q: torch.Tensor,
    cache: torch.Tensor,
    query_start: torch.Tensor,
    context_lens: torch.Tensor,
    page_tables: torch.Tensor,
    scale: float,
    is_decode: bool,
) -> torch.Tensor:
    """Compute causal attention: a query attends to its own sequence up to its own position.

    A row's bits depend only on its query, position and keys. They do not depend on the other rows, on the width of
    `page_tables`, or, in prefill, on the split of the prompt into chunks.

    Args:
        q: [num_tokens, num_heads, head_dim]. The tokens of a sequence are the last ones of its context.
        cache: [num_pages, 2, num_kv_heads, page_size, head_dim], keys before values, including this step's.
        query_start: [num_seqs + 1] int32, index of each sequence's first token.
        context_lens: [num_seqs] int32, tokens in the cache, at least 1.
        page_tables: [num_seqs, max_pages] int32. Entries beyond the context are ignored.
        scale: Factor on the dot products, head_dim ** -0.5.
        is_decode: True if each sequence has one token.

    Returns:
        [num_tokens, num_heads, head_dim].
    """
    if is_decode:
        return decode_attention(q, cache, context_lens, page_tables, scale)
    return prefill_attention(q, cache, query_start, context_lens, page_tables, scale)


def _like_q(q: torch.Tensor, *_: object) -> torch.Tensor:
    return q.new_empty(q.shape)


register(
    "paged_attention(Tensor q, Tensor cache, Tensor query_start, Tensor context_lens, Tensor page_tables, "
    "float scale, bool is_decode) -> Tensor",
    reference_paged_attention,
    _like_q,
)
