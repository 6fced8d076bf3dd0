"""Copying small tensors to the device without waiting for its current work."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def on_device(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return `values`, numbers or rows of equal length, as a tensor on the device."""
    return send(torch.tensor(values, dtype=dtype), device)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a copy of a host tensor on the device; on a CPU, the tensor itself.

    For a GPU, the copy starts from pinned memory. A copy from ordinary memory would first wait for all earlier work.
    PyTorch reuses the pinned memory only after the copy.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
