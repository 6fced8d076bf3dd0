"""Batches over stores in memory: their import, and a worker that runs their jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from jobs.batches.agenda import MemoryAgenda, WaitingBatches
from jobs.batches.batch import Batch
from jobs.batches.memory_records import MemoryBatchRecords
from jobs.online.memory_online import MemoryOnline
from jobs.records.completion import Completion, ErrorCode, Usage
from jobs.records.job import Job
from jobs.records.model_card import ModelCard
from jobs.records.object_id import new_object_id
from jobs.records.sampling import FinishReason
from jobs.service.rate_limits import MemoryRateLimits
from jobs.service.sessions import MemorySessions
from jobs.stores.memory.store import MemoryJobStore
from jobs.submission.job_client import JobClient
from jobs.uploads.file_store import FolderStore
from jobs.uploads.memory_records import MemoryFileRecords, ProjectTable
from jobs.uploads.stored_file import StoredFile
from server.clerk.import_batch import import_batch
from server.options import ServeOptions
from server.stores import Stores
from testing.jobs.sample_jobs import shard_stats
from tests.jobs.projects.conftest import ROOMY
from tests.server.conftest import jsonl
from tests.server.in_process import NoReports

OPTIONS = ServeOptions(files="unused")


class NoHints:
    """Sends nothing: no worker listens."""

    def send(self, model: str, shards: Any) -> int:
        return 0

    def depth(self, model: str) -> int:
        return 0


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """All stores in memory, and a folder for the bytes. Some worker has served the model `demo`."""
    table, jobs = ProjectTable(time.time), MemoryJobStore(time.time)
    jobs.fleet.publish_model(ModelCard("demo", vocab_size=1000, max_model_len=2048, has_chat_template=True))
    records = MemoryFileRecords(table), MemoryBatchRecords(table), MemoryAgenda(time.time)
    waiting = WaitingBatches(MemoryAgenda(time.time), MemoryAgenda(time.time))
    folder, rates = FolderStore(tmp_path / "files"), MemoryRateLimits(time.time)
    return Stores(jobs, *records, waiting, folder, NoReports(), rates, MemoryOnline(), MemoryOnline(), MemorySessions())


def new_batch(stores: Stores, *lines: Any, **more: Any) -> Batch:
    """Store a file and a batch of it."""
    now = time.time()
    writer = stores.content.writer("p", file_id := new_object_id("file", now))
    writer.write(jsonl(*lines))
    writer.commit()
    stores.files.add("p", StoredFile(file_id, "in.jsonl", "batch", writer.size, writer.digest(), now), ROOMY)
    batch = Batch(new_object_id("batch", now), "/v1/chat/completions", file_id, "24h", now, now + 86_400)
    return stores.batches.add("p", structs.replace(batch, **more), 10)


def imported(stores: Stores, batch: Batch, options: ServeOptions = OPTIONS) -> Batch:
    """The batch after an import."""
    import_batch(stores, JobClient(stores.jobs, NoHints()), "p", batch.id, options)
    after = stores.batches.get("p", batch.id)
    assert after is not None
    return after


def run(stores: Stores, batch: Batch, failing: frozenset[int] = frozenset()) -> Job:
    """Play a worker that runs the whole job of a batch."""
    while True:
        leased: Any = stores.jobs.work.lease_next("demo", "worker", 60)
        if leased is None:
            return stores.jobs.jobs.get(batch.job_id or "")
        results = [
            Completion.failed(prompt.index, prompt.id, ErrorCode.PROMPT_TOO_LONG, "too long", prompt.endpoint)
            if prompt.index in failing
            else Completion(prompt.index, prompt.id, "text", FinishReason.STOP, Usage(10, 3), endpoint=prompt.endpoint)
            for prompt in stores.jobs.work.pending(leased.lease)
        ]
        stores.jobs.work.write(leased.lease, results)
        stores.jobs.work.finish_shard(leased.lease, shard_stats())
