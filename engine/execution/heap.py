"""Configuration of glibc's heap: memory that one step frees is reused by the next step."""

from __future__ import annotations

import ctypes
import sys

# Names of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Keep freed memory in the process. Call this after loading weights and cache, before the first step.

    By default, glibc returns a step's large tensors to the system after every use. The next step gets this memory back
    by page faults, one per page. (64 rows of logits take 39 MB.) With this setting the heap keeps the size that the
    largest step needed. Another C library does not support the setting.

    Returns:
        True if the setting was applied.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    wanted = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))
    return all(mallopt(option, value) for option, value in wanted)
