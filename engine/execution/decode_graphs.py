"""Recorded decode steps: one launch replays a whole step on a GPU, instead of hundreds of launches.

A recording has a fixed shape and always uses the memory of its recording. Therefore decode steps are recorded for
several batch sizes. A step runs in the smallest recording that holds it, padded with sequences on the sink page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

Step = Callable[[], torch.Tensor]  # runs on static inputs and returns hidden states [size, hidden_size]


@dataclass(frozen=True)
class RecordedStep:
    """A recorded step and the tensor that receives its result."""

    replay: Callable[[], None]
    hidden: torch.Tensor  # [size, hidden_size], overwritten by every replay


Record = Callable[[Step], RecordedStep]


def ladder(max_num_seqs: int) -> tuple[int, ...]:
    """Return the batch sizes to record: 2, 4, the multiples of 8 below `max_num_seqs`, and `max_num_seqs`.

    Small sizes double. Multiples of 8 pad a step with at most 7 rows. There is no size 1, because every step has at
    least two rows (`model.attention_metadata`).
    """
    sizes = {2, 4, *range(8, max_num_seqs, 8), max_num_seqs}
    return tuple(sorted(size for size in sizes if 2 <= size <= max(2, max_num_seqs)))


class DecodeGraphs:
    """The recorded steps of one model and cache. Without recordings, every step runs unrecorded."""

    def __init__(self, recorded: dict[int, RecordedStep] | None = None) -> None:
        self._recorded = recorded or {}
        self._sizes = sorted(self._recorded)

    @classmethod
    def of(cls, sizes: Iterable[int], step_of: Callable[[int], Step], record: Record) -> DecodeGraphs:
        """Record a step of each size, the largest first, so that smaller ones can reuse its memory.

        Args:
            sizes: Numbers of sequences.
            step_of: Makes the step of a given size. Its inputs have the same addresses as those of later steps.
            record: Runs a step and records the device's work.
        """
        return cls({size: record(step_of(size)) for size in sorted(sizes, reverse=True)})

    def size_for(self, num_seqs: int) -> int | None:
        """Return the smallest recorded size that holds `num_seqs` sequences, or None if none does."""
        place = bisect_left(self._sizes, num_seqs)
        return self._sizes[place] if place < len(self._sizes) else None

    def replay(self, size: int) -> torch.Tensor:
        """Run the recorded step of a size on the current contents of its inputs.

        Returns:
            Hidden states [size, hidden_size], valid until the next replay.
        """
        step = self._recorded[size]
        step.replay()
        return step.hidden


class CudaRecorder:
    """Records steps as CUDA graphs. The graphs share one memory pool, because they never run at the same time.

    This class has not yet run on a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._first: torch.cuda.CUDAGraph | None = None  # the other graphs share its memory

    def __call__(self, step: Step) -> RecordedStep:
        """Record a step (see `DecodeGraphs.of`). Other threads may use the device: only this thread is recorded."""
        step()  # compiles and loads what this size needs, which is not allowed during recording
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        pool = None if self._first is None else self._first.pool()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            hidden = step()
        self._first = self._first or graph
        return RecordedStep(graph.replay, hidden)
