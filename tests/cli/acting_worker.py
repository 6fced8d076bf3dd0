"""Does to the store what a worker does, without a model."""

from __future__ import annotations

import time

import msgspec

from jobs.records.completion import Completion, ErrorCode, Latency, Usage
from jobs.records.job import ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.records.shard_stats import ShardStats
from jobs.records.worker_report import WorkerReport
from jobs.stores.protocol import JobStore

WORKER = "host:42:abc"


def run_job(
    store: JobStore,
    job_id: str,
    fail: frozenset[str] = frozenset(),
    shards: int | None = None,
    first: int = 0,
    quantize: str = "none",
) -> None:
    """Finish a job's shards from `first` on, up to the `shards`-th: lines whose id is in `fail` fail."""
    number = store.jobs.get(job_id).spec.num_shards if shards is None else shards
    for index in range(first, number):
        lease = store.work.lease(ShardRef(job_id, index), WORKER, ttl_seconds=60)
        assert lease is not None
        pending = store.work.pending(lease)
        results = [_completion(prompt, prompt.id in fail) for prompt in pending]
        store.work.write(lease, [msgspec.structs.replace(result, quantize=quantize) for result in results])
        store.work.finish_shard(
            lease,
            ShardStats(
                WORKER,
                "cpu",
                "bfloat16",
                quantize,
                True,
                load_seconds=1.5,
                compile_seconds=2.5,
                prefill_seconds=0.1,
                decode_seconds=0.2,
                decode_steps=10,
                decode_batch_sum=50,
                kv_cache_usage_peak=0.25,
                peak_memory_bytes=2**30,
            ),
        )


def _completion(prompt: Prompt, failed: bool) -> Completion:
    if failed:
        return Completion.failed(prompt.index, prompt.id, ErrorCode.PROMPT_TOO_LONG, "too long")
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text=f"answer to {prompt.id}",
        finish_reason=FinishReason.STOP,
        usage=Usage(prompt_tokens=4, completion_tokens=1),
        endpoint=prompt.endpoint,
        finished_at=time.time(),
        latency=Latency(ttft_ms=12.0, tpot_ms=3.0, e2el_ms=40.0),
    )


def report(model: str = "demo", worker_id: str = WORKER, jobs: tuple[str, ...] = ()) -> WorkerReport:
    """A worker as `workers` shows it."""
    return WorkerReport(
        worker_id=worker_id,
        host="host",
        pid=42,
        model=model,
        device="cpu",
        dtype="bfloat16",
        quantize="none",
        compiled=True,
        state="busy" if jobs else "idle",
        started_at=time.time(),
        load_seconds=1.5,
        compile_seconds=2.5,
        output_throughput=123.4,
        running=5,
        waiting=3,
        kv_cache_usage=0.5,
        peak_memory_bytes=2**30,
        output_tokens=1000,
        prompt_tokens=400,
        cached_tokens=168,
        jobs=jobs,
    )
