"""The kernels of our own that a device has."""

from __future__ import annotations

from collections.abc import Callable

from engine.config import ResolvedConfig
from engine.cpu_kernels import load_cpu_kernels
from engine.cuda_kernels import load_cuda_kernels


def load_device_kernels(config: ResolvedConfig, log: Callable[[str], None]) -> bool:
    """Let the fastest kernels serve the device. To be called before weights are packed; a line says what is missing.

    Returns whether kernels of our own run from now on.
    """
    if config.device == "cpu":
        return load_cpu_kernels(log, config.quantize)
    return config.device.startswith("cuda") and load_cuda_kernels(log)
