"""A server, a tiny model, and what a client and an operator do with them."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.queue.celery_hints import CeleryHints
from jobs.records.completion import Completion
from jobs.records.job import Job, JobState, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from testing.processes.worker_under_test import WorkerUnderTest

SHARD_SIZE = 16
NUM_TEXTS = 7  # different prompts in a job: lines with the same one must have the same completion
TOKENS_STEP = 40  # completions have 1 to 7 times so many tokens: they do not all end at once
_numbers = itertools.count()


def num_tokens(index: int) -> int:
    return TOKENS_STEP * (1 + index % NUM_TEXTS)


def _line(index: int) -> Prompt:
    settings = SamplingSettings(max_tokens=num_tokens(index))
    return Prompt(index, f"id-{index}", text=f"What is {index % NUM_TEXTS}?", settings=settings)


class Cluster:
    """A server, a model and what a client does."""

    def __init__(self, valkey: ValkeyProcess, model: str, model_folder: Path, logs: Path) -> None:
        self.valkey = valkey
        self.store: JobStore = connect(valkey.url)
        self.hints = CeleryHints(valkey.url)
        self.model = model  # the served name
        self._logs = logs
        self.settings = {
            "redis_url": valkey.url,
            "model": str(model_folder),
            "served_model_name": model,
            "device": "cpu",
            "compile": "false",
            "threads": "1",
            "kv_cache_memory": "64MiB",
            "lease_ttl_seconds": "3",
            "sweep_seconds": "0.3",
            "flush_seconds": "0.1",
        }

    def worker(self, *, prefix: Sequence[str] = (), **options: str) -> WorkerUnderTest:
        log = self._logs / f"worker-{next(_numbers)}.log"
        return WorkerUnderTest(self.settings | options, log, prefix=prefix)

    def worker_of(self, command: Sequence[str]) -> WorkerUnderTest:
        return WorkerUnderTest(self.settings, self._logs / f"worker-{next(_numbers)}.log", command)

    @contextmanager
    def frozen_server(self) -> Iterator[None]:
        """A server that accepts and never answers."""
        os.kill(self.valkey.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.valkey.pid, signal.SIGCONT)

    def submit(self, num_lines: int, num_hints: int | None = None) -> str:
        """A job that takes a second for about a hundred lines; with fewer hints than shards, the others are lost."""
        job_id = f"job-{next(_numbers)}"
        settings = SamplingSettings(temperature=0, ignore_eos=True)
        spec = NewJob(job_id, self.model, "native", settings, 5, num_lines, SHARD_SIZE, "file", created_at=time.time())
        self.store.submissions.create(spec)
        lines = [_line(index) for index in range(num_lines)]
        for index in range(spec.num_shards):
            shard = ShardRef(job_id, index)
            self.store.submissions.add_shard(shard, lines[index * SHARD_SIZE : (index + 1) * SHARD_SIZE])
        self.hints.send(self.model, self.store.submissions.open(job_id)[:num_hints])
        return job_id

    def wait_until_done(self, job_id: str, count: int, timeout_seconds: float = 120) -> Job:
        """Return as soon as so many lines of the job have a result."""
        deadline = time.monotonic() + timeout_seconds
        while (job := self.store.jobs.get(job_id)).done < count:
            assert time.monotonic() < deadline, job
            time.sleep(0.01)  # the store has no way to tell
        return job

    def wait_until_ended(self, job_id: str, timeout_seconds: float = 240) -> Job:
        deadline = time.monotonic() + timeout_seconds
        while not (job := self.store.jobs.get(job_id)).state.ended:
            assert time.monotonic() < deadline, job
            time.sleep(0.01)
        return job

    def check_results(self, job_id: str, num_lines: int) -> list[Completion]:
        """Every line exactly once, in order; equal prompts have equal completions; counters equal lines."""
        job, results = self.store.jobs.get(job_id), list(self.store.jobs.results(job_id))
        assert job.state is JobState.COMPLETED
        assert [result.index for result in results] == list(range(num_lines))
        assert (job.completed, job.failed) == (num_lines, 0)
        assert job.total_output_tokens == sum(num_tokens(index) for index in range(num_lines))
        for text in range(NUM_TEXTS):
            assert len({result.text for result in results[text::NUM_TEXTS]}) == 1
        return results
