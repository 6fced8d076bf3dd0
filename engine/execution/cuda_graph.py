"""Recording what a CUDA device does. It has not yet run on one."""

from __future__ import annotations

import torch

from engine.execution.decode_graphs import RecordedStep, Step


class CudaRecorder:
    """Records steps as CUDA graphs that share one pool of memory: they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._first: torch.cuda.CUDAGraph | None = None  # whose memory the others share

    def __call__(self, step: Step) -> RecordedStep:
        """See `DecodeGraphs.of`. Only this thread's work is recorded; others may use the device meanwhile."""
        step()  # compiles and loads whatever this size needs: nothing of that may happen while recording
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        pool = None if self._first is None else self._first.pool()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            hidden = step()
        self._first = self._first or graph
        return RecordedStep(graph.replay, hidden)
