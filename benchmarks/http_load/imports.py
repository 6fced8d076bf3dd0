"""Imports of many small files; the import of a large one, its finish, and what creating batches takes meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPConnection

import psutil

from benchmarks.http_load.service import (
    MEBIBYTE,
    ServiceUnderLoad,
    connection_to,
    create_batch,
    get,
    percentiles,
    timed,
)
from benchmarks.http_load.uploads import lines_of, upload

PAUSE_SECONDS = 0.1  # pause before the next batch is created during the import, and before the next look at the import


def measure_import(service: ServiceUnderLoad, size: int) -> None:
    """Import a batch of a large file while other batches are created, answer all lines, and let it finish."""
    large, small = upload(service, list(lines_of(size))), upload(service, [b'{"custom_id": "a"}\n'])
    connection = connection_to(service)
    began, creates, others, peak = time.perf_counter(), list[float](), list[str](), 0
    batch_id = create_batch(connection, large)
    while (batch := json.loads(get(connection, f"/v1/batches/{batch_id}")))["status"] == "validating":
        creates.append(timed(lambda: others.append(create_batch(connection, small))))
        peak = max(peak, _memory_of_children(service))
        time.sleep(PAUSE_SECONDS)
    seconds = time.perf_counter() - began
    if batch["status"] != "in_progress":
        raise RuntimeError(str(batch))
    lines = batch["request_counts"]["total"]
    print(f"import of {lines:,} lines, {size / MEBIBYTE:.0f} MiB: {seconds:.1f} s, at most {peak / MEBIBYTE:.0f} MiB")
    print(f"  creating a batch meanwhile ({len(creates):,} times): {percentiles(creates)}")
    _wait_for_imports(connection, others)
    _answer_all_lines(service, batch_id)
    _measure_finish(service, batch_id)


def measure_small_imports(service: ServiceUnderLoad, number: int = 100) -> None:
    """Create so many batches of one line, and wait until all of them are imported."""
    file, connection = upload(service, [next(lines_of(1))]), connection_to(service)
    began = time.perf_counter()
    _wait_for_imports(connection, [create_batch(connection, file) for _ in range(number)])
    print(f"{number} batches of one line are imported {time.perf_counter() - began:.1f} s after the first creation")


def _wait_for_imports(connection: HTTPConnection, batches: Iterable[str]) -> None:
    for batch_id in batches:
        while json.loads(get(connection, f"/v1/batches/{batch_id}"))["status"] == "validating":
            time.sleep(PAUSE_SECONDS)


def _answer_all_lines(service: ServiceUnderLoad, batch_id: str) -> None:
    job_id = next(job.id for job in service.store.jobs.newest() if job.spec.batch == batch_id)
    command = [sys.executable, "-m", "benchmarks.store.stub_worker", service.redis_url, job_id]
    subprocess.run(command, check=True)


def _measure_finish(service: ServiceUnderLoad, batch_id: str) -> None:
    connection = connection_to(service)
    began, peak = time.perf_counter(), 0
    while json.loads(get(connection, f"/v1/batches/{batch_id}"))["status"] != "completed":
        peak = max(peak, _memory_of_children(service))
        time.sleep(PAUSE_SECONDS)
    print(f"finish: {time.perf_counter() - began:.1f} s after the last line, at most {peak / MEBIBYTE:.0f} MiB")


def _memory_of_children(service: ServiceUnderLoad) -> int:
    """Return the memory in bytes of the largest of the clerk's processes."""
    total = 0
    for child in service.clerk.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total = max(total, child.memory_info().rss)
    return total
