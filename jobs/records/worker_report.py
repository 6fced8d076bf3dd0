"""What a worker says of itself twice a second, for `qwen-batch workers` and the statistics of its jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

WorkerState = Literal["loading", "idle", "busy", "draining", "stopping", "lost"]  # "lost" is what a store says

LOST_SECONDS = 60.0  # how long a worker that has fallen silent is remembered as lost


class WorkerReport(msgspec.Struct, frozen=True):
    """One worker as it is now. Workers that stop reporting are lost when the report's time to live ends."""

    worker_id: str  # host:pid:random, unique for ever
    host: str
    pid: int
    model: str
    device: str  # "cpu", "cuda:0 (NVIDIA H100)", "mps"
    dtype: str
    quantize: str
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
    held_back: int = 0  # sequences that have waited for room in the cache alone for seconds, on average
    kv_cache_bytes_wanted: int = 0  # a cache that would hold them beside those that run; 0 if none is held back
    refused_messages: int = 0  # items on the queue that were no hints, since the start


def as_lost(report: WorkerReport) -> WorkerReport:
    """The last report of a worker that has fallen silent."""
    return msgspec.structs.replace(report, state="lost", output_throughput=0.0)


def in_order(reports: Iterable[WorkerReport]) -> list[WorkerReport]:
    """By model, host and pid."""
    return sorted(reports, key=lambda report: (report.model, report.host, report.pid))
