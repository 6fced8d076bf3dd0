"""The pages over stores in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from jobs.batches.batch import Batch
from jobs.records.completion import Completion, ErrorCode, LineError
from jobs.records.job import NewJob, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.object_id import new_object_id
from jobs.uploads.stored_file import StoredFile
from server.access.key_file import add_key
from server.access.key_ring import KeyRing
from server.app import make_app
from server.options import ServeOptions
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.projects.conftest import ROOMY
from tests.server.in_process import services_in_memory
from tests.server.pages.browsing import HOST, Browser
from tests.worker.recorded_hints import RecordedHints


class Site:
    """A service in this process, and what it stores.

    Args:
        folder: Folder of its files.
        auth: True if visitors need a key.
        part_seconds: Max age of the live part of a page.
        search_seconds: Max time for which one request reads lines.
    """

    def __init__(self, folder: Path, auth: bool, part_seconds: float = 0.0, search_seconds: float = 60.0) -> None:
        services = services_in_memory(folder)
        self.stores = services.stores
        self.stores.jobs.fleet.publish_model(ModelCard("demo", 1000, max_model_len=2048, has_chat_template=True))
        self.hints = RecordedHints()
        self.keys_file = folder / "keys.json"
        self.admin_key, _ = add_key(self.keys_file, "default", ("batch", "admin"), None)
        keys = KeyRing(self.keys_file, None, time.time)
        options = ServeOptions(str(folder), auth=auth, part_seconds=part_seconds, search_seconds=search_seconds)
        self.services = replace(services, options=options, keys=keys, hints=self.hints)
        self.app = make_app(self.services)

    def browser(self, key: str | None = None, address: str = HOST) -> Browser:
        """A new visitor, logged in if there is a key."""
        browser = Browser(self.app, address)
        if key is not None:
            login = browser.open("/login")
            assert browser.send(login.form("/login"), key=key).path == "/"
        return browser

    def new_key(self, project: str, *rights: str) -> str:
        return add_key(self.keys_file, project, rights or ("batch",), None)[0]

    def own_job(self, name: str = "sums.jsonl", job_id: str = "job-1", lines: int = 6, **more: object) -> NewJob:
        """A job of the command line, in two or more shards."""
        spec = structs.replace(new_job(job_id, lines=lines, shard_size=3), source=name, **more)
        submit(self.stores.jobs, spec)
        return spec

    def finish(self, spec: NewJob, failing: dict[int, str] | None = None, text: str = "It is done.") -> None:
        """Run all lines of a job; those in `failing` fail with a message."""
        work = self.stores.jobs.work
        for shard in range(spec.num_shards):
            lease = work.lease(ShardRef(spec.id, shard), "worker-1", 60.0)
            assert lease is not None
            work.write(lease, [_result(prompt.index, failing or {}, text) for prompt in work.pending(lease)])
            work.finish_shard(lease, shard_stats())

    def batch(self, project: str, name: str = "in.jsonl", created_at: float | None = None, **more: object) -> Batch:
        """A batch whose file has been uploaded."""
        now = time.time() if created_at is None else created_at
        writer = self.stores.content.writer(project, file_id := new_object_id("file", now))
        writer.write(b"{}\n")
        writer.commit()
        file = StoredFile(file_id, name, "batch", writer.size, writer.digest(), now, now + 86_400)
        self.stores.files.add(project, file, ROOMY)
        batch = Batch(new_object_id("batch", now), "/v1/chat/completions", file_id, "24h", now, now + 86_400)
        return self.stores.batches.add(project, structs.replace(batch, **more), 1000)


def _result(index: int, failing: dict[int, str], text: str) -> Completion:
    if index not in failing:
        return completed(index, text)
    return Completion(index, f"line-{index}", error=LineError(ErrorCode.PROMPT_TOO_LONG, failing[index]))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A service without keys."""
    return Site(tmp_path, auth=False)


@pytest.fixture
def guarded(tmp_path: Path) -> Site:
    """A service whose visitors need a key."""
    return Site(tmp_path, auth=True)


@pytest.fixture
def browser(site: Site) -> Browser:
    """A visitor of the service without keys."""
    return site.browser()
