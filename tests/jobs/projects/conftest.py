"""The records of files and batches, in every implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
import redis

from jobs.batches.agenda import Agenda, MemoryAgenda, RedisAgenda
from jobs.batches.batch import Batch
from jobs.batches.batch_records import BatchRecords
from jobs.batches.memory_records import MemoryBatchRecords
from jobs.batches.redis_records import RedisBatchRecords
from jobs.project_keys import DUE
from jobs.records.object_id import new_object_id
from jobs.stores.redis.connection.server import RedisServer
from jobs.uploads.file_records import FileRecords, Quota
from jobs.uploads.memory_records import MemoryFileRecords, ProjectTable
from jobs.uploads.redis_records import RedisFileRecords
from jobs.uploads.stored_file import Purpose, StoredFile
from testing.environment.hand_clock import HandClock

ROOMY = Quota(max_bytes=10**9, max_files=1000)
_seconds = count(1_700_000_000)


@dataclass(frozen=True)
class Records:
    """All records, over one store."""

    files: FileRecords
    batches: BatchRecords
    agenda: Agenda
    now: Callable[[], float]


@pytest.fixture(params=["memory", "redis"])
def records(request: pytest.FixtureRequest) -> Records:
    """Each implementation in turn, empty."""
    if request.param == "memory":
        clock = HandClock()
        table = ProjectTable(clock)
        return Records(MemoryFileRecords(table), MemoryBatchRecords(table), MemoryAgenda(clock), clock)
    client: redis.Redis = request.getfixturevalue("client")
    server = RedisServer(client)
    return Records(RedisFileRecords(server), RedisBatchRecords(server), RedisAgenda(server, DUE), server.now)


def new_file(size: int = 100, purpose: Purpose = "batch", name: str = "in.jsonl") -> StoredFile:
    """A file that is a second younger than the one before."""
    created_at = float(next(_seconds))
    return StoredFile(new_object_id("file", created_at), name, purpose, size, "digest", created_at)


def new_batch(input_file_id: str = "file-1") -> Batch:
    """A batch that is a second younger than the one before."""
    now = float(next(_seconds))
    return Batch(new_object_id("batch", now), "/v1/chat/completions", input_file_id, "24h", now, now + 86_400)
