"""What the clerk does with each entry of its agenda, without child processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from jobs.batches.agenda import Entry
from jobs.batches.batch import Batch, BatchPhase
from jobs.batches.batch_records import next_revision
from jobs.errors import JobNotFound
from jobs.records.job import JobState
from jobs.records.object_id import new_object_id
from jobs.settings import Settings
from jobs.uploads.stored_file import StoredFile
from server.clerk import main
from server.clerk.children import Children
from server.clerk.next_step import NextStep
from server.clerk.sweep import Sweep
from server.options import ServeOptions
from server.stores import Stores
from tests.jobs.projects.conftest import ROOMY
from tests.server.batches.conftest import imported, new_batch, run
from tests.server.batches.test_import_and_finish import finished
from tests.server.conftest import chat_line

LATER = 600.0


class Clerk:
    """A clerk whose children only note what they should do."""

    def __init__(self, stores: Stores, busy: bool = False, keep_jobs_seconds: float = LATER) -> None:
        self.started: list[tuple[str, Entry]] = []
        self._busy = busy
        self._stores = stores
        self._next_step = NextStep(stores, ServeOptions("unused", keep_jobs_seconds=keep_jobs_seconds), self._start)

    def _start(self, work: Any, entry: Entry) -> bool:
        if not self._busy:
            self.started.append((work, entry))
        return not self._busy

    def look(self, object_id: str) -> list[Entry]:
        """Take the entry of an object. Returns what the agenda then has within the next ten minutes."""
        entry = Entry("p", object_id)
        self._stores.agenda.schedule(entry, 0.0)
        assert self._stores.agenda.take(10, 1e9) == [entry]  # due never again, unless the clerk says so
        self._next_step.take(entry)
        clock = self._stores.agenda._clock  # type: ignore[attr-defined]
        self._stores.agenda._clock = lambda: clock() + LATER - 1  # type: ignore[attr-defined]
        try:
            return self._stores.agenda.take(10, 1e9)
        finally:
            self._stores.agenda._clock = clock  # type: ignore[attr-defined]


def phase_of(stores: Stores, batch: Batch) -> BatchPhase:
    after = stores.batches.get("p", batch.id)
    assert after is not None
    return after.phase


def test_a_new_batch_is_imported_and_an_ended_job_is_finished(stores: Stores) -> None:
    clerk, batch = Clerk(stores), new_batch(stores, chat_line(1))
    entry = Entry("p", batch.id)
    assert clerk.look(batch.id) == []  # the entry waits for the end of the child
    batch = imported(stores, batch)
    assert clerk.look(batch.id) == [entry]  # the job runs
    run(stores, batch)
    clerk.look(batch.id)
    assert clerk.started == [("import_batch", entry), ("finish_batch", entry)]


def test_while_all_children_are_busy_a_batch_waits(stores: Stores) -> None:
    batch = new_batch(stores, chat_line(1))
    assert Clerk(stores, busy=True).look(batch.id) == [Entry("p", batch.id)]
    assert phase_of(stores, batch) is BatchPhase.VALIDATING
    assert stores.waiting.imports.take(10, 1.0) == [Entry("p", batch.id)]


def test_a_batch_whose_results_wait_for_a_child_is_looked_at_again(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch)
    assert Clerk(stores, busy=True).look(batch.id) == [Entry("p", batch.id)]
    assert stores.waiting.finishes.take(10, 1.0) == [Entry("p", batch.id)]


def test_of_the_batches_that_wait_the_oldest_is_next_however_many_come_after_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    batches = [new_batch(stores, chat_line(1), created_at=now - 100 + age) for age in range(4)]
    for batch in reversed(batches):
        Clerk(stores, busy=True).look(batch.id)
    later = new_batch(stores, chat_line(1), created_at=now)
    stores.agenda.schedule(Entry("p", later.id), now)
    monkeypatch.setattr("server.clerk.main.open_stores", lambda *_: stores)
    started: list[str] = []

    def start(_: Children, _work: str, entry: Entry) -> bool:
        if len(started) == 3:
            return False
        started.append(entry.id)
        return True

    monkeypatch.setattr(Children, "start", start)
    monkeypatch.setattr(Children, "room", lambda *_: 3 - len(started))
    main.Clerk(Settings(), ServeOptions("unused"))._look()
    assert started == [batch.id for batch in batches[:3]]
    stores.waiting.imports._clock = lambda: time.time() + LATER  # type: ignore[attr-defined]
    assert stores.waiting.imports.take(10, 1.0) == [Entry("p", batches[3].id), Entry("p", later.id)]


@pytest.mark.parametrize(
    ("said", "phase"),
    [({"cancelling_at": 5.0}, BatchPhase.CANCELLED), ({"expires_at": 5.0}, BatchPhase.EXPIRED)],
)
def test_a_batch_that_is_cancelled_or_late_before_its_import_ends_at_once(
    stores: Stores, said: dict[str, float], phase: BatchPhase
) -> None:
    clerk, batch = Clerk(stores), new_batch(stores, chat_line(1), **said)
    clerk.look(batch.id)
    assert (phase_of(stores, batch), clerk.started) == (phase, [])


def test_a_batch_that_no_worker_runs_expires_nevertheless(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1), expires_at=time.time() + LATER / 2))
    later = time.time() + LATER
    monkeypatch.setattr(stores.jobs.table, "clock", lambda: later)  # type: ignore[attr-defined]
    monkeypatch.setattr("server.clerk.next_step.time", SimpleNamespace(time=lambda: later))
    Clerk(stores).look(batch.id)
    assert stores.jobs.jobs.get(batch.job_id or "").state is JobState.EXPIRED
    done, output, errors = finished(stores, batch)
    assert (done.phase, output) == (BatchPhase.EXPIRED, [])
    assert [line["error"]["code"] for line in errors] == ["batch_expired"]


def test_a_batch_whose_job_was_deleted_fails(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch)
    stores.jobs.control.delete(batch.job_id or "")
    Clerk(stores).look(batch.id)
    after = stores.batches.get("p", batch.id)
    assert after is not None
    assert (after.phase, [error.code for error in after.errors]) == (BatchPhase.FAILED, ["job_deleted"])


def test_the_job_of_an_ended_batch_is_deleted_when_it_is_time(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch)
    batch, _, _ = finished(stores, batch)
    Clerk(stores, keep_jobs_seconds=LATER).look(batch.id)
    assert stores.jobs.jobs.get(batch.job_id or "").state.ended
    assert Clerk(stores, keep_jobs_seconds=0.0).look(batch.id) == []
    with pytest.raises(JobNotFound):
        stores.jobs.jobs.get(batch.job_id or "")
    assert phase_of(stores, batch) is BatchPhase.COMPLETED


def new_file(stores: Stores, expires_at: float | None) -> StoredFile:
    """Store a file that expires at a time."""
    file_id = new_object_id("file", time.time())
    stores.content.writer("p", file_id).commit()
    file = StoredFile(file_id, "a.jsonl", "batch", 0, "digest", time.time(), expires_at)
    return stores.files.add("p", file, ROOMY)


def test_a_file_is_deleted_when_it_expires_and_not_before(stores: Stores) -> None:
    old, young = new_file(stores, time.time() - 1), new_file(stores, time.time() + 60)
    assert Clerk(stores).look(old.id) == []
    assert Clerk(stores).look(young.id) == [Entry("p", young.id)]
    assert (stores.files.get("p", old.id), stores.content.open("p", old.id)) == (None, None)
    assert stores.files.get("p", young.id) == young


def test_an_expired_file_stays_while_a_batch_is_validating_it(stores: Stores) -> None:
    batch = new_batch(stores, chat_line(1))
    file = stores.files.get("p", batch.input_file_id)
    assert file is not None
    expired = structs.replace(file, expires_at=5.0)
    stores.files._table.files["p", file.id] = expired  # type: ignore[attr-defined]
    Clerk(stores).look(file.id)
    assert stores.files.get("p", file.id) == expired
    assert stores.batches.save("p", next_revision(structs.replace(batch, phase=BatchPhase.FAILED), batch))
    Clerk(stores).look(file.id)
    assert stores.files.get("p", file.id) is None


@pytest.mark.parametrize("kind", ["file", "batch"])
def test_an_entry_without_a_record_is_kept_for_a_minute(stores: Stores, kind: Any) -> None:
    young, old = new_object_id(kind, time.time()), new_object_id(kind, time.time() - 100)
    for object_id in (young, old):
        assert Clerk(stores).look(object_id) == []
    stores.agenda._clock = lambda: time.time() + 2e9  # type: ignore[attr-defined]
    assert stores.agenda.take(10, 1.0) == [Entry("p", young)]


def test_a_sweep_removes_old_bytes_without_a_record(stores: Stores, tmp_path: Path) -> None:
    kept, lost = new_file(stores, None), new_file(stores, None)
    stores.files.remove("p", lost.id)
    sweep = Sweep(stores)
    past = time.time() - 7200
    for path in (tmp_path / "files" / "p").iterdir():
        os.utime(path, (past, past))
    sweep.take_turn()
    assert [path.name for path in (tmp_path / "files" / "p").iterdir()] == [kept.id]
