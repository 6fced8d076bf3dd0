"""The kernels of our own that a device has, and what they are good for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch

from engine.config import QuantizeName
from engine.execution.compilation import cache_folder
from model.kernels.build import KernelsUnavailable, load_kernels
from model.ops import onednn
from model.ops.linear import bfloat16_kernel_available, int8_kernel_available


def load_kernels_for(device: str, log: Callable[[str], None], quantize: QuantizeName = "none") -> bool:
    """Let the fastest kernels serve a device. Call this before weights are packed.

    The C++ kernels are built on first use, which takes seconds. Triton compiles each kernel when it first runs.

    Args:
        device: "cpu", "cuda:0", "mps".
        log: Gets a line that says why the slower PyTorch path is taken, if it is.
        quantize: How the weights will be packed.

    Returns:
        Whether kernels of our own run in this process from now on.
    """
    if device == "cpu":
        return load_cpu_kernels(log, quantize)
    return device.startswith("cuda") and _load_triton_kernels(log)


def load_cpu_kernels(log: Callable[[str], None], quantize: QuantizeName = "none") -> bool:
    """Load the C++ kernels. Arguments and result as in `load_kernels_for`."""
    try:
        load_kernels(cache_folder() / "kernels")
    except (KernelsUnavailable, OSError) as error:
        log(f"Running without the C++ kernels, much slower: {error}.")
        return False
    if quantize == "int8" and not int8_kernel_available():
        log("8-bit products run in plain PyTorch, slower than without --quantize: this processor has no AVX512-VNNI.")
    return True


def bfloat16_is_fast(device: str) -> bool:
    """Return whether products in bfloat16 run well on a device. Call this after `load_kernels_for`.

    On a CPU they do in our kernels (AVX-512), and in oneDNN where the processor has instructions for bfloat16.
    Elsewhere oneDNN raises or emulates bfloat16, and PyTorch runs a plain loop.
    """
    return device != "cpu" or bfloat16_kernel_available() or onednn.can_pack(torch.bfloat16)


def _load_triton_kernels(log: Callable[[str], None]) -> bool:
    if importlib.util.find_spec("triton") is None:
        log("Running without the Triton kernels, much slower: the package triton is not installed.")
        return False
    from model.kernels.triton.operators import register_for_cuda  # triton is no dependency: PyTorch for CUDA brings it

    register_for_cuda()
    return True
