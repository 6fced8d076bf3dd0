"""The most memory that this process has held."""

from __future__ import annotations

import resource
import sys


def process_peak_memory_bytes() -> int:
    """Peak resident set size since the process began. The kernel counts in KiB, except on macOS, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
