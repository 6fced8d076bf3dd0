"""What a worker measured while it ran a shard, and the one-second samples behind plots."""

from __future__ import annotations

import msgspec


class ShardStats(msgspec.Struct, frozen=True):
    """The engine's share of work for one shard. Steps shared by several shards are divided by their sequences."""

    worker_id: str
    device: str
    dtype: str
    quantize: str  # none, int8
    compiled: bool
    load_seconds: float  # of the worker's start; never mixed into a rate
    compile_seconds: float
    prefill_seconds: float = 0.0  # engine time
    decode_seconds: float = 0.0
    decode_steps: float = 0.0  # steps that held a sequence of this shard
    decode_batch_sum: float = 0.0  # sum of the whole batch's size over these steps
    kv_cache_usage_peak: float = 0.0  # 0 to 1, of the whole cache
    output_tokens: int = 0
    peak_memory_bytes: int = 0  # of the worker process, or of its device
    cache_short_steps: float = 0.0  # decode steps in which sequences waited for room in the cache alone
    cache_short_running_sum: float = 0.0  # sequences that ran, summed over these steps
    cache_short_waiting_sum: float = 0.0  # sequences that waited for room, summed over these steps
    kv_cache_bytes_wanted: int = 0  # a cache that would have held all of them, at most; 0 without such a step


class TimelineSample(msgspec.Struct, frozen=True):
    """About one second of one worker's work on one job."""

    at: float  # seconds since the epoch
    worker_id: str
    output_throughput: float  # tokens/s of this job on this worker
    running: int  # sequences
    kv_cache_usage: float  # 0 to 1
