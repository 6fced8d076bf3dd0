"""A job's counters in the store, apart from those in `Job`. `stats_from_counters` computes the statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from jobs.records.completion import Completion, Latency, LineError
from jobs.records.shard_stats import ShardStats
from jobs.stats.latency_histogram import LatencyHistogram
from jobs.stats.stats import WorkerShare

# Names of the sums in `JobCounters.amounts`.
AMOUNTS = ("reasoning_tokens", "malformed_tool_calls", "cut_structured_outputs", "quantized_lines")
MICRO = 1_000_000  # sums are kept in whole millionths, because integers add up exactly in any order


@dataclass
class EngineTotals:
    """Sums over the finished shards, in millionths of their unit, and maxima."""

    prefill_us: int = 0
    decode_us: int = 0
    decode_steps_e6: int = 0
    decode_batch_sum_e6: int = 0
    kv_cache_usage_peak: float | None = None  # 0 to 1; None until a shard is finished
    cache_short_steps_e6: int = 0
    cache_short_running_sum_e6: int = 0
    cache_short_waiting_sum_e6: int = 0
    kv_cache_bytes_wanted: int = 0  # bytes, not millionths
    cached_tokens: int = 0  # tokens, not millionths
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    def add(self, stats: ShardStats) -> None:
        """Count a finished shard."""
        self.prefill_us += round(stats.prefill_seconds * MICRO)
        self.decode_us += round(stats.decode_seconds * MICRO)
        self.decode_steps_e6 += round(stats.decode_steps * MICRO)
        self.decode_batch_sum_e6 += round(stats.decode_batch_sum * MICRO)
        self.kv_cache_usage_peak = max(self.kv_cache_usage_peak or 0.0, stats.kv_cache_usage_peak)
        self.cache_short_steps_e6 += round(stats.cache_short_steps * MICRO)
        self.cache_short_running_sum_e6 += round(stats.cache_short_running_sum * MICRO)
        self.cache_short_waiting_sum_e6 += round(stats.cache_short_waiting_sum * MICRO)
        self.kv_cache_bytes_wanted = max(self.kv_cache_bytes_wanted, stats.kv_cache_bytes_wanted)
        self.cached_tokens += stats.cached_tokens
        self.drafted_tokens += stats.drafted_tokens
        self.accepted_tokens += stats.accepted_tokens


@dataclass
class JobCounters:
    """All counters of a job that are not fields of `Job`."""

    ttft: LatencyHistogram = field(default_factory=LatencyHistogram)
    tpot: LatencyHistogram = field(default_factory=LatencyHistogram)
    e2el: LatencyHistogram = field(default_factory=LatencyHistogram)
    finish_reasons: dict[str, int] = field(default_factory=dict)
    error_codes: dict[str, int] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)  # sums of `Completion.amounts`
    retried_shards: int = 0
    reused_input_tokens: int = 0  # tokens of completions from earlier jobs
    reused_output_tokens: int = 0
    opened_at: float | None = None  # time when `submit` had stored the whole job, by the store's clock
    working_seconds: float | None = None  # time in which a worker held a lease, up to the last line that a worker wrote
    engine: EngineTotals = field(default_factory=EngineTotals)
    workers: dict[str, WorkerShare] = field(default_factory=dict)  # without their output tokens
    worker_output_tokens: dict[str, int] = field(default_factory=dict)  # of the lines that each worker wrote

    def add_finish(self, completion: Completion) -> None:
        """Count a line's finish reason, amounts and latencies, if it has them."""
        for name, amount in completion.amounts().items():
            self.amounts[name] = self.amounts.get(name, 0) + amount
        if completion.finish_reason is not None:
            reason = str(completion.finish_reason)
            self.finish_reasons[reason] = self.finish_reasons.get(reason, 0) + 1
        if completion.latency is not None:
            self.add_latency(completion.latency)

    def add_error(self, error: LineError) -> None:
        """Count a failed line's error."""
        code = str(error.code)
        self.error_codes[code] = self.error_codes.get(code, 0) + 1

    def add_latency(self, latency: Latency) -> None:
        """Count a completed line's latencies."""
        self.ttft.add(latency.ttft_ms)
        self.e2el.add(latency.e2el_ms)
        if latency.tpot_ms is not None:
            self.tpot.add(latency.tpot_ms)

    def add_output_tokens(self, worker_id: str, tokens: int) -> None:
        """Count the output tokens of lines that a worker wrote."""
        self.worker_output_tokens[worker_id] = self.worker_output_tokens.get(worker_id, 0) + tokens

    def add_shard(self, stats: ShardStats) -> None:
        """Add the statistics of a shard that a worker has finished."""
        self.engine.add(stats)
        share = worker_share(stats)
        if known := self.workers.get(stats.worker_id):
            share = msgspec.structs.replace(
                share,
                peak_memory_bytes=max(known.peak_memory_bytes, share.peak_memory_bytes),
            )
        self.workers[stats.worker_id] = share


def worker_share(stats: ShardStats) -> WorkerShare:
    """Return a worker's share of a job after its first finished shard."""
    return WorkerShare(
        worker_id=stats.worker_id,
        device=stats.device,
        dtype=stats.dtype,
        quantize=stats.quantize,
        compiled=stats.compiled,
        peak_memory_bytes=stats.peak_memory_bytes,
        load_seconds=stats.load_seconds,
        compile_seconds=stats.compile_seconds,
    )
