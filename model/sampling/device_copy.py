"""Small tensors of the host on their way to the device, without a wait for what it is doing."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def on_device(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """`values`, numbers or equally long rows of them, as a tensor on the device."""
    return send(torch.tensor(values, dtype=dtype), device)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy of a host tensor on the device; on a CPU the tensor itself.

    From ordinary memory a GPU's copy would begin with a wait for all earlier work. PyTorch gives pinned memory back
    only after the copy.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
