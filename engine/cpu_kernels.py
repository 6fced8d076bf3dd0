"""The C++ kernels of the CPU path, where this machine can build them."""

from __future__ import annotations

from collections.abc import Callable

from engine.compilation import cache_folder
from engine.config import QuantizeName
from model.kernels.build import KernelsUnavailable, load_kernels
from model.ops.linear import int8_kernel_available


def load_cpu_kernels(log: Callable[[str], None], quantize: QuantizeName = "none") -> bool:
    """Load the kernels, building them the first time (seconds). To be called before weights are packed.

    Args:
        log: Gets a line that says why the slower PyTorch path is taken, if it is.
        quantize: How the weights will be packed.

    Returns:
        Whether they run in this process from now on.
    """
    try:
        load_kernels(cache_folder() / "kernels")
    except (KernelsUnavailable, OSError) as error:
        log(f"Running without the C++ kernels, much slower: {error}.")
        return False
    if quantize == "int8" and not int8_kernel_available():
        log("8-bit products run in plain PyTorch, slower than bfloat16: this processor has no AVX512-VNNI.")
    return True
