"""The service inside the test's own process, over stores in memory."""

from __future__ import annotations

import time
from pathlib import Path

from jobs.batches.agenda import MemoryAgenda, WaitingBatches
from jobs.batches.memory_records import MemoryBatchRecords
from jobs.online.memory_online import MemoryOnline
from jobs.service.http_report import HttpReport
from jobs.service.rate_limits import MemoryRateLimits
from jobs.service.sessions import MemorySessions
from jobs.stores.memory.store import MemoryJobStore
from jobs.uploads.file_store import FolderStore
from jobs.uploads.memory_records import MemoryFileRecords, ProjectTable
from server.access.key_ring import KeyRing
from server.in_threads import InThreads
from server.options import ServeOptions
from server.state import Services
from server.stores import Stores
from server.upload.slots import UploadSlots
from tests.worker.recorded_hints import RecordedHints


def services_in_memory(folder: Path, online: MemoryOnline | None = None) -> Services:
    """The service without keys. Uploads go to `folder`."""
    online = online or MemoryOnline()
    table, options = ProjectTable(time.time), ServeOptions(files=str(folder))
    records = MemoryFileRecords(table), MemoryBatchRecords(table), MemoryAgenda(time.time)
    waiting = WaitingBatches(MemoryAgenda(time.time), MemoryAgenda(time.time))
    content, rates = FolderStore(folder), MemoryRateLimits(time.time)
    stores = Stores(
        MemoryJobStore(time.time), *records, waiting, content, NoReports(), rates, online, online, MemorySessions()
    )
    threads = InThreads(4, 60.0), InThreads(4, 60.0)
    return Services(options, stores, KeyRing(None, None, time.time), *threads, UploadSlots(16, 16), RecordedHints())


class NoReports:
    """Other HTTP processes, of which there are none."""

    def publish(self, report: HttpReport) -> None:
        pass

    def all(self) -> list[HttpReport]:
        return []
