"""Large CPU tensors of zeros whose memory is allocated on first write."""

from __future__ import annotations

import contextlib
import math
import mmap

import torch

HUGE_PAGE = 2 << 20  # bytes, on x86-64 and on ARM with pages of 4 KiB


def zeroed_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a CPU tensor of zeros in memory mapped directly from the system.

    The mapping asks Linux for huge pages. With small pages, scattered reads in gigabytes of memory spend their time on
    TLB misses. Also, the first write to each 4 KiB page would cause a page fault.
    """
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return torch.zeros(shape, dtype=dtype)
    # Private, because Linux seldom gives huge pages to memory that is shared between processes.
    memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # the system has no huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    start = -torch.frombuffer(memory, dtype=torch.uint8).data_ptr() % HUGE_PAGE
    # The tensor's storage begins at `start`, so its storage offset is 0: each other offset would recompile the layer.
    return torch.frombuffer(memory, dtype=torch.uint8, count=size, offset=start).view(dtype).view(shape)
