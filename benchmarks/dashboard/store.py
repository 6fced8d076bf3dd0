"""Fill a store for `benchmarks.dashboard`: many jobs of one project, some of them at work, and one huge job."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import count, islice

from msgspec import structs

from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.keys import JobKeys
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Lease, NewJob, ShardRef
from jobs.records.object_id import new_object_id
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import MAX_SPANS
from jobs.stores.protocol import JobStore
from jobs.submission.sharding import shard_size
from jobs.uploads.file_records import Quota
from jobs.uploads.stored_file import StoredFile
from server.stores import Stores
from testing.jobs.sample_jobs import completed, new_job, shard_stats
from testing.processes.valkey import ValkeyProcess

MODEL = "Qwen/Qwen3-0.6B"
HUGE = "job-20261128-000000-huge"
NEEDLE = "needle-in-the-last-line"
NUM_AT_WORK = 20  # jobs of which a worker writes a line per second
FINISHED_SHARE = 0.2  # share of the huge job's lines
NUM_FAILED = 10_000  # lines of the huge job
_LINES = 600  # lines per other job
_QUOTA = Quota(2**40, 10**6)


@dataclass(frozen=True)
class Running:
    """A job at work."""

    batch_id: str
    lease: Lease


def add_jobs(stores: Stores, number: int) -> list[Running]:
    """Store so many batches with a job each. The newest `NUM_AT_WORK` run, all others are completed."""
    running: list[Running] = []
    now = time.time()
    for age in range(number, 0, -1):
        spec = structs.replace(
            new_job(f"job-20261127-{age:06}-load", lines=_LINES, shard_size=_LINES, model=MODEL),
            source=f"prompts-{age:04}.jsonl",
            created_at=now - age,
            project="default",
        )
        batch = _batch(stores, spec, is_at_work=age <= NUM_AT_WORK)
        lease = _submitted(stores.jobs, structs.replace(spec, batch=batch.id))
        if age <= NUM_AT_WORK:
            running.append(Running(batch.id, lease))
        else:
            stores.jobs.work.write(lease, [completed(index) for index in range(_LINES)])
            stores.jobs.work.finish_shard(lease, shard_stats())
    return running


def _batch(stores: Stores, spec: NewJob, is_at_work: bool) -> Batch:
    at = spec.created_at
    file = StoredFile(new_object_id("file", at), spec.source, "batch", 70 * _LINES, "0" * 64, at, at + 30 * 86_400)
    stores.files.add("default", file, _QUOTA)
    batch = Batch(
        id=new_object_id("batch", at),
        endpoint="/v1/chat/completions",
        input_file_id=file.id,
        completion_window="24h",
        created_at=at,
        expires_at=at + 86_400,
        phase=BatchPhase.SUBMITTED if is_at_work else BatchPhase.COMPLETED,
        job_id=spec.id,
        model=MODEL,
        total=_LINES,
        counts=Counts() if is_at_work else Counts(_LINES, 0, 3 * _LINES, 4 * _LINES),
        ended_at=None if is_at_work else at + 60,
    )
    return stores.batches.add("default", batch, 10**6)


def _submitted(store: JobStore, spec: NewJob) -> Lease:
    """Store a job of one shard, and lease the shard."""
    store.submissions.create(spec)
    prompts = [Prompt(index=index, id=f"line-{index}", text=f"What is {index} + 48?") for index in range(_LINES)]
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts)
    store.submissions.open(spec.id)
    lease = store.work.lease(ShardRef(spec.id, 0), "vm:1:x", 3600.0)
    assert lease is not None
    return lease


def add_huge_job(store: JobStore, valkey: ValkeyProcess, lines: int) -> None:
    """Store a job of so many lines that has run for a day. Failed lines are spread over all finished shards."""
    size = shard_size(lines)
    spec = structs.replace(
        new_job(HUGE, lines=lines, shard_size=size, model=MODEL), source="everything.jsonl", created_at=time.time()
    )
    store.submissions.create(spec)
    finished, failing = int(FINISHED_SHARE * spec.num_shards), max(int(FINISHED_SHARE * lines) // NUM_FAILED, 1)
    for shard in range(spec.num_shards):
        prompts = [_prompt(index, lines) for index in range(shard * size, min((shard + 1) * size, lines))]
        store.submissions.add_shard(ShardRef(HUGE, shard), prompts)
    store.submissions.open(HUGE)
    for shard in range(finished):
        lease = store.work.lease(ShardRef(HUGE, shard), "vm:1:x", 3600.0)
        assert lease is not None
        store.work.write(lease, [_result(prompt.index, failing) for prompt in store.work.pending(lease)])
        store.work.finish_shard(lease, shard_stats())
    assert store.work.lease(ShardRef(HUGE, finished), "vm:1:x", 3600.0) is not None
    _make_a_day_old(valkey)


def _prompt(index: int, lines: int) -> Prompt:
    return Prompt(index=index, id=f"line-{index}", text=NEEDLE if index == lines - 1 else f"What is {index} + 48?")


def _result(index: int, failing: int) -> Completion:
    if index % failing:
        return completed(index)
    return Completion.failed(
        index,
        f"line-{index}",
        ErrorCode.PROMPT_TOO_LONG,
        f"The prompt has {index} tokens; the model's context has 2,048.",
    )


def _make_a_day_old(valkey: ValkeyProcess) -> None:
    """Give the huge job the longest possible history: `MAX_SPANS` spans of a minute."""
    keys = JobKeys(HUGE)
    with valkey.client() as client:
        minute = int(client.time()[0]) // 60
        spans = {
            str(minute - age): f"{100 + age % 7} {age % 50 // 49} {4000 + 40 * (age % 7)}" for age in range(MAX_SPANS)
        }
        client.delete(keys.history)  # what was just written is in shorter spans
        client.hset(keys.history, mapping={"span_seconds": "60", **spans})
        client.hset(keys.meta, "first_step_at_ms", (minute - MAX_SPANS) * 60_000)


class Writer:
    """Writes one line and one sample per second for each running job, as a worker does, until the block ends."""

    def __init__(self, store: JobStore, running: list[Running]) -> None:
        self._store = store
        self._running = running
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _write(self) -> None:
        for index in islice(count(), _LINES - 1):
            for job in self._running:
                self._store.work.write(job.lease, [completed(index)])
                sample = TimelineSample(time.time(), "vm:1:x", 4.0, 1, 0.1)
                self._store.fleet.add_timeline(job.lease.shard.job_id, sample)
            if self._stopped.wait(1.0):
                return
