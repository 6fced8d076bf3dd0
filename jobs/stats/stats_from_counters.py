"""Compute the statistics of a job from its counters."""

from __future__ import annotations

import msgspec

from jobs.records.job import Job
from jobs.stats.stats import JobStats
from jobs.stats.stats_counters import MICRO, JobCounters


def job_stats(job: Job, counters: JobCounters) -> JobStats:
    """Return all statistics of a job. `JobStats` defines each of them."""
    seconds = counters.working_seconds
    made = job.total_output_tokens - counters.reused_output_tokens
    workers = tuple(
        msgspec.structs.replace(share, output_tokens=counters.worker_output_tokens.get(name, 0))
        for name, share in sorted(counters.workers.items())
    )
    return JobStats(
        id=job.id,
        state=job.state,
        cancel_requested=job.cancel_requested,
        paused=job.paused,
        model=job.spec.model,
        source=job.spec.source,
        created_at=job.spec.created_at,
        deadline_at=job.deadline_at,
        priority=job.spec.priority,
        error=job.error,
        total=job.spec.num_lines,
        completed=job.completed,
        failed=job.failed,
        reused=job.reused,
        total_input_tokens=job.total_input_tokens,
        total_output_tokens=job.total_output_tokens,
        duration_seconds=seconds,
        wall_seconds=wall_seconds(job),
        output_throughput=_rate(made, seconds),
        total_token_throughput=_rate(made + job.total_input_tokens - counters.reused_input_tokens, seconds),
        request_throughput=_rate(job.completed - job.reused, seconds),
        queue_seconds=queue_seconds(job, counters),
        mean_ttft_ms=counters.ttft.mean_ms(),
        median_ttft_ms=counters.ttft.quantile_ms(0.5),
        p99_ttft_ms=counters.ttft.quantile_ms(0.99),
        mean_tpot_ms=counters.tpot.mean_ms(),
        median_tpot_ms=counters.tpot.quantile_ms(0.5),
        p99_tpot_ms=counters.tpot.quantile_ms(0.99),
        mean_e2el_ms=counters.e2el.mean_ms(),
        median_e2el_ms=counters.e2el.quantile_ms(0.5),
        p99_e2el_ms=counters.e2el.quantile_ms(0.99),
        prefill_seconds=counters.engine.prefill_us / MICRO,
        decode_seconds=counters.engine.decode_us / MICRO,
        mean_batch_size=_per(counters.engine.decode_batch_sum_e6, counters.engine.decode_steps_e6),
        kv_cache_usage_peak=counters.engine.kv_cache_usage_peak,
        cache_short_share=_per(counters.engine.cache_short_steps_e6, counters.engine.decode_steps_e6),
        cache_short_running=_per(counters.engine.cache_short_running_sum_e6, counters.engine.cache_short_steps_e6),
        cache_short_waiting=_per(counters.engine.cache_short_waiting_sum_e6, counters.engine.cache_short_steps_e6),
        cached_tokens=counters.engine.cached_tokens,
        draft_acceptance=_per(counters.engine.accepted_tokens, counters.engine.drafted_tokens),
        kv_cache_bytes_wanted=counters.engine.kv_cache_bytes_wanted or None,
        reasoning_tokens=counters.amounts.get("reasoning_tokens", 0),
        malformed_tool_calls=counters.amounts.get("malformed_tool_calls", 0),
        cut_structured_outputs=counters.amounts.get("cut_structured_outputs", 0),
        quantized_lines=counters.amounts.get("quantized_lines", 0),
        finish_reasons=dict(sorted(counters.finish_reasons.items())),
        error_codes=dict(sorted(counters.error_codes.items())),
        retried_shards=counters.retried_shards,
        workers=workers,
        load_seconds=max((worker.load_seconds for worker in workers), default=0.0),
        compile_seconds=max((worker.compile_seconds for worker in workers), default=0.0),
    )


def wall_seconds(job: Job) -> float | None:
    """Return the seconds from the first lease to the last line that a worker wrote, including idle time."""
    if job.first_step_at is None or job.last_line_at is None:
        return None
    return max(job.last_line_at - job.first_step_at, 0.0)


def queue_seconds(job: Job, counters: JobCounters) -> float | None:
    """Return the seconds from the opening of the job to its first lease, by the store's clock."""
    if job.first_step_at is None or counters.opened_at is None:
        return None
    return job.first_step_at - counters.opened_at


def _rate(amount: int, seconds: float | None) -> float | None:
    return amount / seconds if seconds else None


def _per(amount: int, number: int) -> float | None:
    return amount / number if number else None
