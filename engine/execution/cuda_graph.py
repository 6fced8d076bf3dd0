"""Recording of decode steps as CUDA graphs. This code has not yet run on a CUDA device."""

from __future__ import annotations

import torch

from engine.execution.decode_graphs import RecordedStep, Step


class CudaRecorder:
    """Records steps as CUDA graphs. The graphs share one memory pool, because they never run at the same time."""

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
