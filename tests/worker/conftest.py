"""A worker's parts over real stores, and an engine in the test's hands."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess, running_valkey
from tests.worker.shard_bench import ShardBench


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """One server for all tests of the worker."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def empty_valkey(valkey: ValkeyProcess) -> ValkeyProcess:
    """The same server, without keys."""
    with valkey.client() as client:
        client.flushall()
    return valkey


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[JobStore]:
    """Both implementations: a law of the worker holds over either."""
    if request.param == "memory":
        yield MemoryJobStore(time.time)
        return
    with request.getfixturevalue("empty_valkey").store() as store:
        yield store


@pytest.fixture
def bench(store: JobStore) -> Iterator[ShardBench]:
    """A worker's shard runner with everything around it, and a job of one shard."""
    with ShardBench(store) as bench:
        yield bench


@pytest.fixture
def short_leases(store: JobStore) -> Iterator[ShardBench]:
    """The same with leases of a second, for tests that let one expire."""
    with ShardBench(store, ttl_seconds=1.0) as bench:
        yield bench
