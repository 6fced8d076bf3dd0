"""Loading of this project's own kernels for a device."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch

from engine.execution.compilation import cache_folder
from model.kernels.build import KernelsUnavailable
from model.kernels.library import kernels_loaded, load_kernels
from model.kernels.tiers import Processor, choose_tier
from model.ops import onednn


def load_kernels_for(device: str, log: Callable[[str], None], progress: Callable[[str], None] = lambda _: None) -> bool:
    """Load the fastest kernels for a device. Call this before weights are packed.

    If the installation brought no C++ kernels, they are built on first use, which takes seconds. Triton compiles each
    kernel when it first runs.

    Args:
        device: "cpu", "cuda:0" or "mps".
        log: Called with the reason if slower PyTorch code has to run instead.
        progress: Called with what takes time: building the C++ kernels.

    Returns:
        True if this project's own kernels run in this process from now on.

    Raises:
        InvalidInput: The environment names no CPU tier that this processor can run.
    """
    if device == "cpu":
        return load_cpu_kernels(log, progress)
    return device.startswith("cuda") and _load_triton_kernels(log)


def load_cpu_kernels(log: Callable[[str], None], progress: Callable[[str], None] = lambda _: None) -> bool:
    """Load the C++ kernels. Arguments, result and errors are those of `load_kernels_for`."""
    try:
        load_kernels(cache_folder() / "kernels", on_build=lambda: progress("building the C++ kernels, once"))
    except (KernelsUnavailable, OSError) as error:
        log(f"Running without the C++ kernels, much slower: {error}.")
        return False
    return True


def device_description(device: str) -> str:
    """Return a device with what it is, to show to people: `cpu (avx512)`, `cuda:0 (NVIDIA H100)` or `mps`.

    A CPU is followed by the tier of the loaded C++ kernels. Without these kernels it is just `cpu`.
    """
    if device.startswith("cuda"):
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device == "cpu" and kernels_loaded():
        return f"{device} ({choose_tier(Processor.inspect()).name})"
    return device


def bfloat16_is_fast(device: str) -> bool:
    """Return True if matrix products in bfloat16 run well on a device. Call this after `load_kernels_for`.

    On a CPU, two kinds of kernels are fast: this project's own, and oneDNN's on processors with bfloat16 instructions.
    Without this project's kernels, on other CPUs oneDNN refuses or emulates bfloat16, and PyTorch runs a plain loop.
    """
    return device != "cpu" or kernels_loaded() or onednn.can_pack(torch.bfloat16)


def _load_triton_kernels(log: Callable[[str], None]) -> bool:
    if importlib.util.find_spec("triton") is None:
        log("Running without the Triton kernels, much slower: the package triton is not installed.")
        return False
    from model.kernels.triton.operators import register_for_cuda  # here: only PyTorch for CUDA installs triton

    register_for_cuda()
    return True
