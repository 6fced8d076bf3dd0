"""Many tabs cost hardly more than one: they share live parts, and lines are not read for errors again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from jobs.records.job import Job, ShardRef
from jobs.stores.memory.store import MemoryJobStore
from server.in_threads import InThreads
from server.pages.job.error_groups import KnownErrors
from testing.jobs.sample_jobs import completed, failed, new_job, submit
from tests.server.pages.conftest import Site

PART = {"hx-request": "true"}


@pytest.fixture
def shared(tmp_path: Path) -> Site:
    """A service whose live parts are shared for longer than a test takes."""
    return Site(tmp_path, auth=False, part_seconds=3600.0)


def test_tabs_of_one_visitor_share_a_part(shared: Site) -> None:
    spec = shared.own_job()
    browser = shared.browser()
    browser.open("/")
    first = browser.open("/jobs/job-1", **PART)
    shared.finish(spec)
    assert browser.open("/jobs/job-1", **PART).source == first.source
    known = browser.open("/jobs/job-1", **PART, **{"if-none-match": first.headers["etag"]})
    assert (known.status, known.source) == (304, "")
    assert "completed" in browser.open("/jobs/job-1").text  # a whole page is always new
    assert browser.open("/", **PART).source != first.source
    assert browser.open("/?state=completed", **PART).source != browser.open("/", **PART).source


def test_visitors_do_not_share_a_part_because_its_forms_are_secret(shared: Site) -> None:
    shared.own_job()
    tokens = set()
    for _ in range(2):
        browser = shared.browser()
        browser.open("/")
        tokens.add(browser.open("/jobs/job-1", **PART).form("/jobs/job-1/pause").fields["token"])
    assert len(tokens) == 2


def test_a_part_for_a_new_visitor_brings_the_cookie(shared: Site) -> None:
    for _ in range(2):
        assert "set-cookie" in shared.browser().open("/", **PART).headers


def test_an_error_is_not_kept(shared: Site) -> None:
    browser = shared.browser()
    browser.open("/")
    assert browser.open("/jobs/job-1", **PART).status == 404
    shared.own_job()
    assert browser.open("/jobs/job-1", **PART).status == 200


class CountedReader:
    """Reads jobs of a memory store, and counts how often lines are read."""

    def __init__(self, store: MemoryJobStore) -> None:
        self._reader = store.jobs
        self.reads = 0

    def failed_shards(self, job_id: str) -> Iterator[ShardRef]:
        self.reads += 1
        return self._reader.failed_shards(job_id)

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)


def test_lines_are_read_again_only_for_new_errors_and_not_without_a_pause() -> None:
    now = 0.0
    store = MemoryJobStore(lambda: now)
    shards = submit(store, new_job(lines=6))
    reader = CountedReader(store)
    moments = iter([0.0, 1.0, 20.9, 21.1, 21.1, 22.0, 60.0, 60.0, 61.0])
    known = KnownErrors(InThreads(1, 60.0), reader, lambda: next(moments))  # type: ignore[arg-type]

    def write(shard: ShardRef, line: int) -> Job:
        lease = store.work.lease(shard, "worker-1", 60.0)
        assert lease is not None
        store.work.write(lease, [failed(line), completed(line + 1)])
        return store.jobs.get("job-1")

    async def read(job: Job) -> tuple[int, int]:
        return (await known.of(job)).counted, reader.reads

    async def look() -> None:
        first = write(shards[0], 0)
        assert await read(first) == (1, 1)  # took a second
        assert await read(first) == (1, 1)  # the same failed lines
        second = write(shards[1], 2)
        assert await read(second) == (1, 1)  # too early for another look
        assert await read(second) == (2, 2)
        ended = structs.replace(second, ended_at=1.0)
        assert await read(ended) == (2, 3)

    asyncio.run(look())
