"""A job's statistics from its results, by their definitions and by nothing of ours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from jobs.records.completion import Completion

# The documented table (docs/results-format.md).
FIELDS = (
    *("id", "state", "cancel_requested", "paused", "model", "source", "created_at", "deadline_at", "priority", "error"),
    *("total", "completed", "failed", "reused", "total_input_tokens", "total_output_tokens"),
    *("duration_seconds", "wall_seconds"),
    *("output_throughput", "total_token_throughput", "request_throughput", "queue_seconds"),
    *(f"{which}_{what}_ms" for what in ("ttft", "tpot", "e2el") for which in ("mean", "median", "p99")),
    *("prefill_seconds", "decode_seconds", "mean_batch_size", "kv_cache_usage_peak"),
    *("finish_reasons", "error_codes", "retried_shards", "workers", "load_seconds", "compile_seconds"),
)
WORKER_FIELDS = (
    *("worker_id", "device", "dtype", "quantize", "compiled", "output_tokens"),
    *("peak_memory_bytes", "load_seconds", "compile_seconds"),
)


def counts_of(results: Sequence[Any]) -> dict[str, Any]:
    """The fields that count, from the lines of a native results file."""
    good = [line for line in results if line["error"] is None]
    return {
        "total": len(results),
        "completed": len(good),
        "failed": len(results) - len(good),
        "total_input_tokens": sum(line["usage"]["prompt_tokens"] for line in good),
        "total_output_tokens": sum(line["usage"]["completion_tokens"] for line in good),
        "finish_reasons": dict(Counter(line["finish_reason"] for line in good)),
        "error_codes": dict(Counter(line["error"]["code"] for line in results if line["error"] is not None)),
    }


def latencies_of(completions: Sequence[Completion]) -> dict[str, tuple[float, float]]:
    """Each latency field in milliseconds, with its relative error: a sketch knows quantiles within 1%."""
    latencies = [done.latency for done in completions if done.latency is not None]
    values = {
        "ttft": [latency.ttft_ms for latency in latencies],
        "tpot": [latency.tpot_ms for latency in latencies if latency.tpot_ms is not None],
        "e2el": [latency.e2el_ms for latency in latencies],
    }

    def quantile(ordered: Sequence[float], q: float) -> float:
        return ordered[math.ceil(q * len(ordered)) - 1]

    fields = {}
    for name, all_of_it in values.items():
        ordered = sorted(all_of_it)
        fields[f"mean_{name}_ms"] = (fmean(ordered), 1e-4)
        fields[f"median_{name}_ms"] = (quantile(ordered, 0.5), 0.011)
        fields[f"p99_{name}_ms"] = (quantile(ordered, 0.99), 0.011)
    return fields
