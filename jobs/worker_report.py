"""What a worker says of itself every second, for `qwen-batch workers` and the statistics of its jobs."""

from __future__ import annotations

from typing import Literal

import msgspec

WorkerState = Literal["loading", "idle", "busy", "draining", "stopping"]


class WorkerReport(msgspec.Struct, frozen=True):
    """One worker as it is now. Workers that stop reporting disappear when the report's time to live ends."""

    worker_id: str  # host:pid:random, unique for ever
    host: str
    pid: int
    model: str
    device: str  # "cpu", "cuda:0 (NVIDIA H100)", "mps"
    dtype: str
    compiled: bool
    state: WorkerState
    started_at: float  # seconds since the epoch
    load_seconds: float
    compile_seconds: float
    output_throughput: float  # tokens/s over the last seconds
    running: int  # sequences in the batch
    waiting: int  # sequences in the engine, not yet running
    kv_cache_usage: float  # 0 to 1
    peak_memory_bytes: int
    output_tokens: int  # since the start
    jobs: tuple[str, ...]  # ids of the jobs it is working on
    refused_messages: int = 0  # items on the queue that were no hints, since the start
