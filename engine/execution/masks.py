"""Computing the masks of constrained sequences while the model computes the step's hidden states."""

from __future__ import annotations

import os
from collections.abc import Sequence as Items
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engine.scheduling.batch import Batch
from engine.stopping.output_constraint import OutputConstraint
from model.sampling.device_copy import on_device, send
from model.sampling.token_masks import TokenMasks

_MAX_THREADS = 8

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class PendingMasks:
    """Masks that threads are computing."""

    rows: Items[int]  # rows that the masks belong to, ascending
    bits: Words  # [len(rows), words]; complete when `parts` are done
    parts: Items[Future[None]]

    def take(self, device: torch.device) -> TokenMasks:
        """Wait until the masks are complete, and return them on the device."""
        for part in self.parts:
            part.result()
        return TokenMasks(
            on_device(self.rows, torch.int64, device), send(torch.from_numpy(self.bits.view(np.int32)), device)
        )


class MaskThreads:
    """Computes the masks of a step's rows beside the step. The result does not depend on timing.

    A sequence's tokens are all known when a step begins, so its mask can be computed then.

    Args:
        device: The model's device. On a CPU, one thread computes the masks, because the step uses all cores.
    """

    def __init__(self, device: torch.device) -> None:
        self._num_threads = 1 if device.type == "cpu" else min(_MAX_THREADS, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(self._num_threads, thread_name_prefix="masks")

    def begin(self, batch: Batch) -> PendingMasks | None:
        """Begin to compute the masks of the batch's sampled rows. Returns None if no row is constrained."""
        constrained = batch.constrained_rows
        if not constrained:
            return None
        words = constrained[0][1].matcher.mask_words
        bits = np.zeros((len(constrained), words), dtype=np.uint32)
        work = [(constraint, row_bits) for (_, constraint), row_bits in zip(constrained, bits, strict=True)]
        parts = [work[first :: self._num_threads] for first in range(min(self._num_threads, len(work)))]
        return PendingMasks(
            [row for row, _ in constrained], bits, [self._threads.submit(_write, part) for part in parts]
        )


def _write(work: Items[tuple[OutputConstraint, Words]]) -> None:
    for constraint, bits in work:
        barred = constraint.barred_ids
        if barred is None:
            constraint.matcher.write_mask(bits.ctypes.data)
            for token_id in constraint.further_ids:
                bits[token_id // 32] |= np.uint32(1 << token_id % 32)
        else:
            bits.fill(0xFFFFFFFF)
            for token_id in barred:
                if token_id // 32 < len(bits):
                    bits[token_id // 32] &= ~np.uint32(1 << token_id % 32)
