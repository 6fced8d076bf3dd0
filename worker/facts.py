"""Facts of this worker that do not change after the model is loaded."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.request import GroupStats
from jobs.records.shard_stats import ShardStats
from model.memory.peak_memory import peak_cpu_memory_bytes


def new_worker_id() -> str:
    """Return a unique id, host:pid:random. A worker that restarts gets a new id."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True)
class WorkerFacts:
    """The worker's identity, model and device. Before the model is loaded, device and dtype are the requested ones."""

    worker_id: str
    model: str  # the served model's name
    device: str  # for people: "cpu (avx512)", "cuda:0 (NVIDIA H100)"
    dtype: str
    quantize: str
    compiled: bool = False
    load_seconds: float = 0.0
    compile_seconds: float = 0.0
    peak_memory_bytes: Callable[[], int] = peak_cpu_memory_bytes  # memory of the process or of its device
    kv_cache_bytes: int = 0
    started_at: float = field(default_factory=time.time)  # seconds since the epoch
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    def shard_stats(self, engine_share: GroupStats) -> ShardStats:
        """Combine the engine's measurements for a shard with this worker's facts."""
        return ShardStats(
            worker_id=self.worker_id,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            compiled=self.compiled,
            load_seconds=self.load_seconds,
            compile_seconds=self.compile_seconds,
            prefill_seconds=engine_share.prefill_seconds,
            decode_seconds=engine_share.decode_seconds,
            decode_steps=engine_share.decode_steps,
            decode_batch_sum=engine_share.decode_batch_sum,
            kv_cache_usage_peak=engine_share.kv_cache_usage_peak,
            peak_memory_bytes=self.peak_memory_bytes(),
            cached_tokens=engine_share.cached_tokens,
            drafted_tokens=engine_share.drafted_tokens,
            accepted_tokens=engine_share.accepted_tokens,
            cache_short_steps=engine_share.cache_short_steps,
            cache_short_running_sum=engine_share.cache_short_running_sum,
            cache_short_waiting_sum=engine_share.cache_short_waiting_sum,
            kv_cache_bytes_wanted=round(engine_share.cache_wanted_peak * self.kv_cache_bytes),
        )
