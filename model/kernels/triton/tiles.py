"""What the kernels share: how they are compiled, how products are rounded, and the size of tiles."""

from __future__ import annotations

import torch
import triton

LEAST_WIDTH = 16  # the shortest axis that `tl.dot` sums over


def dot_precision(dtype: torch.dtype) -> str:
    """`input_precision` of `tl.dot`: float32 stays float32, where tensor cores would cut it to TF32's 10 bits."""
    return "ieee" if dtype == torch.float32 else "tf32"  # which means nothing to narrower types


def launch_options(dtype: torch.dtype) -> dict[str, int | bool]:
    """How a kernel is compiled: not by defaults, which change from one Triton to the next, and with them the bits."""
    return {
        "num_warps": 4,
        "num_stages": 1 if dtype == torch.float32 else 3,  # more of float32 overflow smaller cards' shared memory
        "enable_fp_fusion": True,
    }


def padded_head_dim(head_dim: int) -> int:
    """The power of two that holds a head; what is beyond it is masked."""
    return max(LEAST_WIDTH, int(triton.next_power_of_2(head_dim)))


def page_size_fits(page_size: int) -> bool:
    """Whether pages can be the tiles of the attention kernels."""
    return page_size >= LEAST_WIDTH and page_size == triton.next_power_of_2(page_size)
