"""Buffers that the host fills and the device reads, at the same address in every step."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch


class Fence(Protocol):
    """A mark in the device's work queue. `torch.cuda.Event` is one."""

    def record(self) -> None:
        """Set the mark after all work queued on the device so far."""

    def synchronize(self) -> None:
        """Wait until the device has reached the mark. Without a mark, return at once."""


class DeviceBuffer:
    """A flat host buffer, available as a NumPy array, and its copy on the device (the twin)."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        # The host need not wait for a copy of pinned memory to a GPU. On a CPU the twin is the buffer itself.
        self._pinned = device.type == "cuda"
        self._host = torch.zeros(size, dtype=dtype, pin_memory=self._pinned)
        self._twin = self._host if device.type == "cpu" else torch.zeros(size, dtype=dtype, device=device)
        self.array = self._host.numpy()

    def on_device(self, *shape: int) -> torch.Tensor:
        """Copy the first elements to the device and return them there in `shape`, always at the same address."""
        size = int(np.prod(shape))
        if self._twin is not self._host:
            self._twin[:size].copy_(self._host[:size], non_blocking=self._pinned)
        return self._twin[:size].view(shape)
