"""Settings shared by the kernels: compile options, rounding of products, and sizes of tiles and splits.

This module must not import Triton, because the engine's memory estimate needs the sizes without Triton, too.
"""

from __future__ import annotations

import torch

SPLIT_TOKENS = 512  # context tokens per split; one split keeps a program busy for some microseconds
MIN_WIDTH = 16  # minimum length of the axis that `tl.dot` sums over


def dot_precision(dtype: torch.dtype) -> str:
    """Return `input_precision` for `tl.dot`. It keeps float32 exact: by default tensor cores use TF32's 10 bits."""
    return "ieee" if dtype == torch.float32 else "tf32"  # has no effect on narrower types


def launch_options(dtype: torch.dtype) -> dict[str, int | bool]:
    """Return a kernel's compile options. They are explicit, because Triton's defaults change between versions.

    Other options could change the bits.
    """
    return {
        "num_warps": 4,
        "num_stages": 1 if dtype == torch.float32 else 3,  # more stages of float32 exceed smaller GPUs' shared memory
        "enable_fp_fusion": True,
    }


def padded_head_dim(head_dim: int) -> int:
    """Return the power of two to which a head is padded. Elements beyond the head are masked."""
    return max(MIN_WIDTH, 1 << (head_dim - 1).bit_length())


def page_size_fits(page_size: int) -> bool:
    """Return True if pages of this size can be the tiles of the attention kernels."""
    return page_size >= MIN_WIDTH and page_size.bit_count() == 1
