"""The C++ kernels of the CPU path, where this machine can build them."""

from __future__ import annotations

from collections.abc import Callable

from engine.compilation import cache_folder
from model.kernels.build import KernelsUnavailable, load_kernels


def load_cpu_kernels(log: Callable[[str], None]) -> bool:
    """Load the kernels, building them the first time (seconds). To be called before weights are packed.

    Args:
        log: Gets a line that says why the slower PyTorch path is taken, if it is.

    Returns:
        Whether they run in this process from now on.
    """
    try:
        load_kernels(cache_folder() / "kernels")
    except (KernelsUnavailable, OSError) as error:
        log(f"Running without the C++ kernels, much slower: {error}.")
        return False
    return True
