"""Small jobs, completions and reports for tests of what stands on a store."""

from __future__ import annotations

from collections.abc import Collection

from jobs.records.completion import Completion, ErrorCode, Latency, Usage
from jobs.records.job import NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from jobs.records.shard_stats import ShardStats
from jobs.records.worker_report import WorkerReport
from jobs.stores.protocol import JobStore


def new_job(job_id: str = "job-1", *, lines: int = 5, shard_size: int = 2, model: str = "demo") -> NewJob:
    """A job's spec. Its creation time follows from its name, so that names sort as times do."""
    return NewJob(
        id=job_id,
        model=model,
        format="native",
        defaults=SamplingSettings(),
        seed=1,
        num_lines=lines,
        shard_size=shard_size,
        source="prompts.jsonl",
        created_at=1_700_000_000.0 + sum(map(ord, job_id)),
    )


def prompts_of(spec: NewJob, shard: int) -> list[Prompt]:
    """The lines of one shard."""
    first = shard * spec.shard_size
    lines = range(first, min(first + spec.shard_size, spec.num_lines))
    return [Prompt(index=line, id=f"line-{line}", text=f"What is {line}?") for line in lines]


def submit(store: JobStore, spec: NewJob, known: Collection[int] = ()) -> list[ShardRef]:
    """Store a job whole, and open it. The lines of `known` have completions already."""
    store.submissions.create(spec)
    for shard in range(spec.num_shards):
        prompts = prompts_of(spec, shard)
        reused = [completed(prompt.index, "reused") for prompt in prompts if prompt.index in known]
        store.submissions.add_shard(ShardRef(spec.id, shard), prompts, reused)
    return store.submissions.open(spec.id)


def completed(line: int, text: str = "", *, tokens: int = 4, latency: Latency | None = None) -> Completion:
    """A line's completion."""
    return Completion(
        index=line,
        id=f"line-{line}",
        text=text or f"It is {line}.",
        finish_reason=FinishReason.STOP,
        usage=Usage(prompt_tokens=3, completion_tokens=tokens),
        latency=latency or Latency(ttft_ms=20.0, tpot_ms=5.0, e2el_ms=35.0),
    )


def failed(line: int, code: ErrorCode = ErrorCode.INTERNAL_ERROR) -> Completion:
    """A line's error."""
    return Completion.failed(line, f"line-{line}", code, "It did not work.")


def shard_stats(worker_id: str = "worker-1") -> ShardStats:
    """What a worker measured."""
    return ShardStats(
        worker_id=worker_id,
        device="cpu",
        dtype="float32",
        quantize="none",
        compiled=True,
        load_seconds=1.5,
        compile_seconds=2.5,
        prefill_seconds=0.25,
        decode_seconds=0.75,
        decode_steps=10.0,
        decode_batch_sum=80.0,
        kv_cache_usage_peak=0.5,
        peak_memory_bytes=1_000,
    )


def worker_report(worker_id: str = "worker-1", *, host: str = "a", model: str = "demo") -> WorkerReport:
    """What a worker says of itself."""
    return WorkerReport(
        worker_id=worker_id,
        host=host,
        pid=1,
        model=model,
        device="cpu",
        dtype="float32",
        quantize="none",
        compiled=True,
        state="idle",
        started_at=1_700_000_000.0,
        load_seconds=1.0,
        compile_seconds=2.0,
        output_throughput=0.0,
        running=0,
        waiting=0,
        kv_cache_usage=0.0,
        peak_memory_bytes=1_000,
        output_tokens=0,
        jobs=(),
    )
