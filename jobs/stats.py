"""The one definition of every throughput figure (docs/results-format.md has the table)."""

from __future__ import annotations

import msgspec

from jobs.job import JobState


class WorkerShare(msgspec.Struct, frozen=True):
    """What one worker did for a job."""

    worker_id: str
    device: str
    dtype: str
    compiled: bool
    output_tokens: int
    peak_memory_bytes: int
    load_seconds: float
    compile_seconds: float


class JobStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a job so far. Rates are None until there is a duration; latencies until a line is completed."""

    id: str
    state: JobState
    cancel_requested: bool
    model: str
    source: str
    created_at: float  # seconds since the epoch
    error: str | None
    total: int  # lines
    completed: int
    failed: int
    total_input_tokens: int  # over completed lines
    total_output_tokens: int
    duration_seconds: float | None  # first step to last line written, wall time, all workers
    output_throughput: float | None  # tokens a second of that duration; never a sum of worker rates
    total_token_throughput: float | None
    request_throughput: float | None
    queue_seconds: float | None  # submit to first step
    mean_ttft_ms: float | None
    median_ttft_ms: float | None
    p99_ttft_ms: float | None
    mean_tpot_ms: float | None
    median_tpot_ms: float | None
    p99_tpot_ms: float | None
    mean_e2el_ms: float | None
    median_e2el_ms: float | None
    p99_e2el_ms: float | None
    prefill_seconds: float  # engine time, summed over workers
    decode_seconds: float
    mean_batch_size: float | None  # sequences a decode step
    kv_cache_usage_peak: float | None  # 0 to 1
    finish_reasons: dict[str, int]
    retried_shards: int
    workers: tuple[WorkerShare, ...]
    load_seconds: float  # the longest of the workers that took part
    compile_seconds: float
