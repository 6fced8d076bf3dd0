"""The Triton kernels of the CUDA path, where this machine can compile them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable


def load_cuda_kernels(log: Callable[[str], None]) -> bool:
    """Let Triton kernels serve attention and the cache's writes on CUDA devices. Nothing is compiled yet.

    Args:
        log: Gets a line that says why the slower PyTorch path is taken, if it is.

    Returns:
        Whether they run in this process from now on.
    """
    if importlib.util.find_spec("triton") is None:
        log("Running without the Triton kernels, much slower: the package triton is not installed.")
        return False
    from model.triton_kernels.operators import register_for_cuda  # triton is no dependency: PyTorch for CUDA brings it

    register_for_cuda()
    return True
