"""Builds the C++ kernels of the current folder's tree: python -m tools.mutation.kernels

Exits with 1 if the build fails.
"""

from __future__ import annotations

import sys

from engine.execution.kernels import load_cpu_kernels

if __name__ == "__main__":
    sys.exit(not load_cpu_kernels(print))
