"""Pages of a project with many files and batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from msgspec import structs

from benchmarks.http_load.service import ServiceUnderLoad, connection_to, get, percentiles, timed
from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.batches.batch_records import next_revision
from jobs.records.object_id import new_object_id
from jobs.settings import Settings
from jobs.uploads.file_records import Quota
from jobs.uploads.stored_file import StoredFile
from server.stores import Stores, open_stores

PROJECT = "default"
ROUNDS = 30


def measure_listings(service: ServiceUnderLoad, batches: int, files: int) -> None:
    """Store records of ended batches and of files, and ask for pages of them."""
    stores = open_stores(Settings(redis_url=service.redis_url), str(service.files))
    first = time.time() - 100_000
    _add_files(stores, files, first)
    _add_batches(stores, batches, first)
    connection = connection_to(service)

    def page(path: str, expected: int) -> Callable[[], None]:
        def ask() -> None:
            found = json.loads(get(connection, path))["data"]
            if len(found) != expected:
                raise RuntimeError(f"{path} has {len(found)} objects")

        return ask

    middle = new_object_id("batch", first + batches / 2)
    print(f"{batches:,} batches and {files:,} files of a project:")
    for name, path, expected in (
        ("the newest 20 batches", "/v1/batches?limit=20", 20),
        ("20 batches from the middle", f"/v1/batches?limit=20&after={middle}", 20),
        ("the newest 20 files", "/v1/files?limit=20", 20),
        ("10,000 files", "/v1/files", min(files, 10_000)),
    ):
        print(f"  {name}: {percentiles([timed(page(path, expected)) for _ in range(ROUNDS)])}")


def _add_files(stores: Stores, number: int, first: float) -> None:
    quota = Quota(max_bytes=10**15, max_files=10**9)
    for place in range(number):
        at = first + place / 10
        file = StoredFile(new_object_id("file", at), f"prompts-{place}.jsonl", "batch", 1000, "digest", at)
        stores.files.add(PROJECT, file, quota)


def _add_batches(stores: Stores, number: int, first: float) -> None:
    input_id = new_object_id("file", first)
    for place in range(number):
        at = first + place
        batch = Batch(new_object_id("batch", at), "/v1/chat/completions", input_id, "24h", at, at + 86_400)
        stores.batches.add(PROJECT, batch, number + 10)
        ended = structs.replace(batch, phase=BatchPhase.COMPLETED, total=5, counts=Counts(5, 0, 50, 50), ended_at=at)
        stores.batches.save(PROJECT, next_revision(ended, batch))
