"""A store that shows all of the dashboard: jobs in every state, errors, speeds, workers, one of them lost."""

from __future__ import annotations

import math
import time

from msgspec import structs

from jobs.records.completion import Completion, ErrorCode, Latency, LineError
from jobs.records.job import NewJob, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.records.worker_report import WorkerReport, WorkerState
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, shard_stats

MODEL = "Qwen/Qwen3-0.6B"
LONG_NAME = "a-long-name-of-a-file-that-somebody-exported-from-a-warehouse-2026-11-28-part-00001-of-00042.final.jsonl"
EVIL = "<script>document.title = 'evil'</script>"
FOREIGN = "質問 📊 שאלות ÀÉÎÕÜ ﷽ Ωμέγα.jsonl"
RUNNING, FAILING, PAUSED, LONG, HOSTILE, UNICODE = (f"job-20261128-0{hour}0000-abcd" for hour in range(6))
_LINES, _SHARD = 400, 20
_SYSTEM = "You are a calculator. Answer with the number only."


def fill(store: JobStore) -> None:
    """Store one job of each kind."""
    store.fleet.publish_model(ModelCard(MODEL, vocab_size=1000, max_model_len=2048, has_chat_template=True))
    now = time.time()
    jobs = [(RUNNING, "sums.jsonl", 8), (FAILING, "grades.jsonl", 20), (PAUSED, "night.jsonl", 0)]
    jobs += [(LONG, LONG_NAME, 20), (HOSTILE, f"{EVIL}.jsonl", 20), (UNICODE, FOREIGN, 20)]
    for hours, (job_id, name, shards_done) in enumerate(jobs):
        spec = structs.replace(
            new_job(job_id, lines=_LINES, shard_size=_SHARD, model=MODEL),
            source=name,
            created_at=now - 3600 * hours,
            priority=-10 if job_id == PAUSED else 0,
        )
        _submit(store, spec)
        if job_id == PAUSED:
            store.control.pause(job_id)
        for shard in range(shards_done):
            _finish(store, spec, shard)
        if shards_done:
            _speeds(store, job_id, now)


def report(store: JobStore, seconds: float = 60.0) -> None:
    """Let two workers report, and a third one get lost."""
    for number, state, device in ((1, "busy", "cuda:0 (NVIDIA H100)"), (2, "idle", "cpu")):
        store.fleet.report_worker(_worker(number, state, device), seconds)  # type: ignore[arg-type]
    store.fleet.report_worker(_worker(3, "busy", "cpu"), 0.001)


def _submit(store: JobStore, spec: NewJob) -> None:
    store.submissions.create(spec)
    for shard in range(spec.num_shards):
        indexes = range(shard * _SHARD, (shard + 1) * _SHARD)
        store.submissions.add_shard(ShardRef(spec.id, shard), [_prompt(spec, index) for index in indexes])
    store.submissions.open(spec.id)


def _prompt(spec: NewJob, index: int) -> Prompt:
    asked = EVIL if spec.id == HOSTILE else f"What is {index} + 48?"
    return Prompt(
        index, f"q-{index}", messages=({"role": "system", "content": _SYSTEM}, {"role": "user", "content": asked})
    )


def _finish(store: JobStore, spec: NewJob, shard: int) -> None:
    lease = store.work.lease(ShardRef(spec.id, shard), "vm:4001:x", 60.0)
    assert lease is not None
    store.work.write(lease, [_result(spec, prompt.index) for prompt in store.work.pending(lease)])
    store.work.finish_shard(lease, shard_stats("vm:4001:x"))


def _result(spec: NewJob, index: int) -> Completion:
    if spec.id == FAILING and index % 29 == 7:
        message = (
            f"The prompt has {3000 + index} tokens; this worker allows at most 2,047. "
            "The model, `--max-model-len` or `--kv-cache-memory` sets this limit."
        )
        return Completion(index, f"q-{index}", error=LineError(ErrorCode.PROMPT_TOO_LONG, message))
    if spec.id == FAILING and index % 97 == 3:
        message = "2 workers that ran this line alone stopped responding."
        return Completion(index, f"q-{index}", error=LineError(ErrorCode.WORKER_LOST, message))
    text = EVIL if spec.id == HOSTILE else str(index + 48)
    latency = Latency(40.0 + index % 13, 8.0 + index % 3, 120.0 + index % 41)
    return structs.replace(completed(index, text, latency=latency), id=f"q-{index}")


def _speeds(store: JobStore, job_id: str, now: float) -> None:
    for second in range(300):
        rate = min(second * 12.0, 205.0) + 12 * math.sin(second / 7)
        store.fleet.add_timeline(job_id, TimelineSample(now - 300 + second, "vm:4001:x", rate, 61, 0.38))


def _worker(number: int, state: WorkerState, device: str) -> WorkerReport:
    return WorkerReport(
        worker_id=f"vm:400{number}:x",
        host="vm",
        pid=4000 + number,
        model=MODEL,
        device=device,
        dtype="bfloat16",
        quantize="none",
        compiled=True,
        state=state,
        started_at=time.time() - 3600,
        load_seconds=2.0,
        compile_seconds=5.0,
        output_throughput=205.0 if state == "busy" else 0.0,
        running=61 if state == "busy" else 0,
        waiting=3 if state == "busy" else 0,
        kv_cache_usage=0.38 if state == "busy" else 0.0,
        peak_memory_bytes=1_800_000_000,
        output_tokens=120_000,
        jobs=(RUNNING,) if state == "busy" else (),
    )
