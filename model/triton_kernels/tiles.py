"""What both attention kernels share: how products are rounded, and the size of tiles."""

from __future__ import annotations

import torch
import triton

LEAST_WIDTH = 16  # the shortest axis that `tl.dot` sums over


def dot_precision(dtype: torch.dtype) -> str:
    """`input_precision` of `tl.dot`: float32 stays float32, where tensor cores would cut it to TF32's 10 bits."""
    return "ieee" if dtype == torch.float32 else "tf32"  # which means nothing to narrower types


def pipeline_stages(dtype: torch.dtype) -> int:
    """Pages on their way at once: more of float32 than one overflow the shared memory of smaller cards."""
    return 1 if dtype == torch.float32 else 3


def padded_head_dim(head_dim: int) -> int:
    """The power of two that holds a head; what is beyond it is masked."""
    return max(LEAST_WIDTH, int(triton.next_power_of_2(head_dim)))


def page_size_fits(page_size: int) -> bool:
    """Whether pages can be the tiles of the attention kernels."""
    return page_size >= LEAST_WIDTH and page_size == triton.next_power_of_2(page_size)
