"""Memory that the host fills and the device reads, step after step at the same place."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch


class Fence(Protocol):
    """A mark in the device's work, as `torch.cuda.Event`."""

    def record(self) -> None:
        """Set the mark behind all that the device has been given so far."""

    def synchronize(self) -> None:
        """Wait until the device has come to the mark; at once if there is none."""


class DeviceBuffer:
    """A flat host buffer as a NumPy array, and its twin on the device."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        # Pinned memory is copied to a GPU without waiting; on a CPU the twin is the buffer itself.
        self._pinned = device.type == "cuda"
        self._host = torch.zeros(size, dtype=dtype, pin_memory=self._pinned)
        self._twin = self._host if device.type == "cpu" else torch.zeros(size, dtype=dtype, device=device)
        self.array = self._host.numpy()

    def on_device(self, *shape: int) -> torch.Tensor:
        """The first elements, in this shape: always at the same place."""
        size = int(np.prod(shape))
        if self._twin is not self._host:
            self._twin[:size].copy_(self._host[:size], non_blocking=self._pinned)
        return self._twin[:size].view(shape)
