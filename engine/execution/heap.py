"""The C library's heap, told to keep what a step frees for the next one."""

from __future__ import annotations

import ctypes
import sys

# Names of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Keep freed memory in the process. To be called when weights and cache are there, before the first step.

    A step's large tensors (64 rows of logits take 39 MB) would otherwise go back to the system after every use and come
    again page by page. The heap then stays as large as the largest step made it. Where the C library is not glibc
    nothing happens.

    Returns:
        Whether it was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    wanted = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))
    return all(mallopt(option, value) for option, value in wanted)
