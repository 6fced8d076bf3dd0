"""Peak memory of this process and of its GPU."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_memory_bytes(device: str) -> int:
    """Return the peak memory so far, in bytes: memory of the GPU on CUDA, else memory of the whole process.

    Args:
        device: The model's device: "cpu", "cuda:0" or "mps".
    """
    if not device.startswith("cuda"):
        return peak_cpu_memory_bytes()
    import torch  # here: the memory of a process without torch can be measured, too

    return torch.cuda.max_memory_allocated(device)


def peak_cpu_memory_bytes() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    try:
        # On Linux, `getrusage` is not used: its peak includes the size of the parent process at the start of this one.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(found[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS reports bytes, other systems KiB
