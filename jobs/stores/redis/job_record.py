"""Decode a job's hashes in Redis: its spec, its state and its counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from jobs.keys import JobKeys
from jobs.records.job import Job, JobCounts, JobState, NewJob
from jobs.stats.history import FIRST_SPAN_SECONDS, History, history_of
from jobs.stats.latency_histogram import LatencyHistogram
from jobs.stats.stats import WorkerShare
from jobs.stats.stats_counters import AMOUNTS, EngineTotals, JobCounters
from jobs.stores.damage import reading

DELETING = "deleting"  # state of a job whose keys are being freed; readers treat it as deleted
COUNTS_FIELDS = ("state", "spec", "completed", "failed")  # fields of `meta` that `counts_of` reads
Hash = Mapping[bytes, bytes]


class _SpecHead(msgspec.Struct):
    """The part of a job's spec that its counts need. The rest is not decoded."""

    id: str
    model: str
    num_lines: int


_spec = msgspec.json.Decoder(NewJob)
_spec_head = msgspec.json.Decoder(_SpecHead)
_share = msgspec.json.Decoder(WorkerShare)


def spec_of(job_id: str, meta: Hash) -> NewJob:
    """Return the job's spec, also while the job is being deleted. Raises `RecordDamaged`."""
    with reading(JobKeys(job_id).meta, _hint(job_id)):
        spec = _spec.decode(meta[b"spec"])
        if spec.id != job_id:
            raise ValueError("it holds another job")
        if min(spec.shard_size - 1, spec.num_lines, spec.num_shards) < 0:
            raise ValueError("a count in it is negative")
        return spec


def job_of(job_id: str, meta: Hash) -> Job | None:
    """Return the job of a `meta` hash, or None if the job does not exist or is being deleted. Raises `RecordDamaged`.

    An empty hash means that the job does not exist.
    """
    if not meta or meta.get(b"state") == DELETING.encode():
        return None
    with reading(JobKeys(job_id).meta, _hint(job_id)):
        return _job(spec_of(job_id, meta), meta)


def counts_of(job_id: str, values: Sequence[bytes | None]) -> JobCounts | None:
    """Return the counts of a job, or None if the job does not exist or is being deleted. Raises `RecordDamaged`.

    Args:
        job_id: Id of the job.
        values: The values of `COUNTS_FIELDS` in its `meta`.
    """
    meta = {name.encode(): value for name, value in zip(COUNTS_FIELDS, values, strict=True) if value is not None}
    if not meta or meta.get(b"state") == DELETING.encode():
        return None
    with reading(JobKeys(job_id).meta, _hint(job_id)):
        head = _spec_head.decode(meta[b"spec"])
        if head.id != job_id:
            raise ValueError("it holds another job")
        if head.num_lines < 0:
            raise ValueError("a count in it is negative")
        state = JobState(meta[b"state"].decode())
        completed, failed = _count(meta, b"completed"), _count(meta, b"failed")
        return JobCounts(job_id, head.model, state, head.num_lines, completed, failed)


def _hint(job_id: str) -> str:
    return f"End the job with `qwen-batch cancel {job_id}`, and remove it with `qwen-batch delete {job_id}`."


def _job(spec: NewJob, meta: Hash) -> Job:
    return Job(
        spec=spec,
        state=JobState(meta[b"state"].decode()),
        cancel_requested=meta.get(b"cancel_requested") == b"1" and b"expired" not in meta,
        completed=_count(meta, b"completed"),
        failed=_count(meta, b"failed"),
        total_input_tokens=_count(meta, b"total_input_tokens"),
        total_output_tokens=_count(meta, b"total_output_tokens"),
        shards_done=_count(meta, b"shards_done"),
        first_step_at=_seconds(meta, b"first_step_at_ms"),
        last_line_at=_seconds(meta, b"last_line_at_ms"),
        ended_at=_seconds(meta, b"ended_at_ms"),
        error=meta[b"error"].decode() if b"error" in meta else None,
        paused=meta.get(b"paused") == b"1",
        deadline_at=_seconds(meta, b"deadline_ms"),
        deadline_passed=b"expired" in meta,
        reused=_count(meta, b"reused"),
    )


def counters_of(job_id: str, meta: Hash, latency: Hash, engine: Hash) -> JobCounters:
    """Return the counters for the job's statistics. Raises `RecordDamaged`."""
    keys = JobKeys(job_id)
    with reading(f"{keys.meta}, {keys.latency} or {keys.engine}", _hint(job_id)):
        return _counters(meta, latency, engine)


def _counters(meta: Hash, latency: Hash, engine: Hash) -> JobCounters:
    return JobCounters(
        ttft=_histogram(latency, "ttft"),
        tpot=_histogram(latency, "tpot"),
        e2el=_histogram(latency, "e2el"),
        finish_reasons={name: int(count) for name, count in _named(meta, "finish_reason:")},
        error_codes={name: int(count) for name, count in _named(meta, "error_code:")},
        amounts={name: count for name in AMOUNTS if (count := _count(meta, name.encode()))},
        retried_shards=_count(meta, b"retried_shards"),
        reused_input_tokens=_count(meta, b"reused_input_tokens"),
        reused_output_tokens=_count(meta, b"reused_output_tokens"),
        opened_at=_seconds(meta, b"opened_at_ms"),
        working_seconds=_working_seconds(meta),
        engine=EngineTotals(
            prefill_us=_count(engine, b"prefill_us"),
            decode_us=_count(engine, b"decode_us"),
            decode_steps_e6=_count(engine, b"decode_steps_e6"),
            decode_batch_sum_e6=_count(engine, b"decode_batch_sum_e6"),
            kv_cache_usage_peak=float(peak) if (peak := engine.get(b"kv_cache_usage_peak")) else None,
            cache_short_steps_e6=_count(engine, b"cache_short_steps_e6"),
            cache_short_running_sum_e6=_count(engine, b"cache_short_running_sum_e6"),
            cache_short_waiting_sum_e6=_count(engine, b"cache_short_waiting_sum_e6"),
            kv_cache_bytes_wanted=_count(engine, b"kv_cache_bytes_wanted"),
            cached_tokens=_count(engine, b"cached_tokens"),
            drafted_tokens=_count(engine, b"drafted_tokens"),
            accepted_tokens=_count(engine, b"accepted_tokens"),
        ),
        workers={name: _worker(engine, name, facts) for name, facts in _named(engine, "worker:")},
        worker_output_tokens={name: int(tokens) for name, tokens in _named(engine, "output_tokens:")},
    )


def decoded_history(fields: Hash) -> History:
    """Return a job's history. An empty hash means that no line has been written. Raises `ValueError` if damaged."""
    counts: dict[int, tuple[int, int, int]] = {}
    for name, values in fields.items():
        if name != b"span_seconds":
            completed, failed, output_tokens = map(int, values.split())
            counts[int(name)] = (completed, failed, output_tokens)
    return history_of(int(fields.get(b"span_seconds", FIRST_SPAN_SECONDS)), counts)


def _working_seconds(meta: Hash) -> float | None:
    if b"duration_ms" in meta:
        return _count(meta, b"duration_ms") / 1000
    if b"first_step_at_ms" not in meta or b"last_line_at_ms" not in meta:
        return None
    # An older version wrote all lines of this job. That version counts from the first lease to the last line.
    wall_ms = _count(meta, b"last_line_at_ms") - _count(meta, b"first_step_at_ms")
    return max(wall_ms - _count(meta, b"idle_ms"), 0) / 1000


def _worker(engine: Hash, worker_id: str, facts: bytes) -> WorkerShare:
    return msgspec.structs.replace(
        _share.decode(facts),
        peak_memory_bytes=_count(engine, f"peak_memory_bytes:{worker_id}".encode()),
    )


def _histogram(latency: Hash, name: str) -> LatencyHistogram:
    fields = {field: int(value) for field, value in _named(latency, f"{name}:")}
    sum_us = fields.pop("sum_us", 0)
    return LatencyHistogram(counts={int(bucket): count for bucket, count in fields.items()}, sum_us=sum_us)


def _named(values: Hash, prefix: str) -> Iterator[tuple[str, bytes]]:
    for field, value in values.items():
        name = field.decode()
        if name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _count(values: Hash, field: bytes) -> int:
    return int(values.get(field, 0))


def _seconds(values: Hash, field: bytes) -> float | None:
    return int(values[field]) / 1000 if field in values else None
