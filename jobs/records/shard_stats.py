"""A worker's measurements for a shard, and one-second samples for plots."""

from __future__ import annotations

import msgspec


class ShardStats(msgspec.Struct, frozen=True):
    """The engine's work for one shard. A step that several shards share is divided in proportion to their sequences."""

    worker_id: str
    device: str
    dtype: str
    quantize: str  # none, int8, int4
    compiled: bool
    load_seconds: float  # model load at the worker's start; part of no rate
    compile_seconds: float  # compilation at the worker's start; part of no rate
    prefill_seconds: float = 0.0  # engine time
    decode_seconds: float = 0.0
    decode_steps: float = 0.0  # decode steps with a sequence of this shard
    decode_batch_sum: float = 0.0  # sum of the whole batch's size over these steps
    kv_cache_usage_peak: float = 0.0  # used share of the whole cache, 0 to 1
    peak_memory_bytes: int = 0  # memory of the worker process or of its device
    cache_short_steps: float = 0.0  # decode steps in which sequences waited only for room in the cache
    cache_short_running_sum: float = 0.0  # sum of running sequences over these steps
    cache_short_waiting_sum: float = 0.0  # sum of sequences that waited for room, over these steps
    kv_cache_bytes_wanted: int = 0  # max over these steps of the cache size that holds all these sequences; 0 if none
    cached_tokens: int = 0  # prompt tokens that were in the prefix cache
    drafted_tokens: int = 0  # guessed tokens that were verified
    accepted_tokens: int = 0  # drafted tokens that were right


class TimelineSample(msgspec.Struct, frozen=True):
    """About one second of one worker's work on one job."""

    at: float  # seconds since the epoch
    worker_id: str
    output_throughput: float  # tokens/s of this job on this worker
    running: int  # sequences
    kv_cache_usage: float  # 0 to 1
