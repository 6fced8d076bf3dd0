"""A worker's report of itself, twice per second, for `qwen-batch workers` and the statistics of its jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from jobs.stats.request_figures import RequestFigures

WorkerState = Literal["loading", "idle", "busy", "draining", "stopping", "lost"]  # only a store sets "lost"

LOST_SECONDS = 60.0  # time for which a worker that stopped reporting is listed as lost


class WorkerReport(msgspec.Struct, frozen=True):
    """The current state of one worker. A worker counts as lost when its last report has expired."""

    worker_id: str  # host:pid:random, never used again
    host: str
    pid: int
    model: str
    device: str  # "cpu (avx512)", "cuda:0 (NVIDIA H100)", "mps"
    dtype: str
    quantize: str
    compiled: bool
    state: WorkerState
    started_at: float  # seconds since the epoch
    load_seconds: float
    compile_seconds: float
    output_throughput: float  # tokens/s over the last seconds
    running: int  # sequences in the batch
    waiting: int  # sequences in the engine that do not run yet
    kv_cache_usage: float  # 0 to 1
    peak_memory_bytes: int
    output_tokens: int  # since the worker's start
    jobs: tuple[str, ...]  # ids of the jobs that it runs
    held_back: int = 0  # mean number of sequences that waited only for room in the cache, over the last seconds
    kv_cache_bytes_wanted: int = 0  # cache size for these and the running sequences together; 0 if none waits for room
    refused_messages: int = 0  # items on the queue that were not hints, since the worker's start
    prompt_tokens: int = 0  # tokens of computed prompts, since the worker's start
    cached_tokens: int = 0  # those of them that were in the prefix cache
    preemptions: int = 0  # sequences that lost their pages and were replayed, since the worker's start
    requests: tuple[RequestFigures, ...] = ()  # finished since the worker's start, by origin
    loading_step: str = ""  # what a loading worker does, such as "reading the weights"; empty if it is not loading

    @property
    def prefix_cache_hit_rate(self) -> float | None:
        """Share of the prompt tokens that were in the prefix cache, 0 to 1. None before the first prompt."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


def as_lost(report: WorkerReport) -> WorkerReport:
    """Return the last report of a worker that stopped reporting, with state `lost` and no throughput."""
    return msgspec.structs.replace(report, state="lost", output_throughput=0.0)


def in_order(reports: Iterable[WorkerReport]) -> list[WorkerReport]:
    """Sort reports by model, host and pid."""
    return sorted(reports, key=lambda report: (report.model, report.host, report.pid))
