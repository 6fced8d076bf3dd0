"""Large tensors of zeros on a CPU whose memory is taken when it is first written."""

from __future__ import annotations

import contextlib
import math
import mmap

import torch

HUGE_PAGE = 2 << 20  # bytes, on x86-64 and on ARM with pages of 4 KiB


def zeroed_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A CPU tensor of zeros, straight from the system.

    Linux is asked for huge pages: a kernel that jumps about in gigabytes otherwise spends its time on finding pages,
    and each first write of 4 KiB costs a trap.
    """
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return torch.zeros(shape, dtype=dtype)
    # Private, or Linux takes it for memory shared between processes, which seldom gets huge pages.
    memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    start = -torch.frombuffer(memory, dtype=torch.uint8).data_ptr() % HUGE_PAGE
    # A storage of its own from `start` on: a compiled layer would be compiled again for another storage offset.
    return torch.frombuffer(memory, dtype=torch.uint8, count=size, offset=start).view(dtype).view(shape)
