"""From an uploaded file to a job, and from an ended job to files, without the processes around it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from jobs.batches.agenda import Entry
from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.batches.batch_records import next_revision
from jobs.errors import JobConflict
from jobs.records.job import JobState
from jobs.records.model_card import ModelCard
from jobs.stores.memory.store import MemoryJobStore
from jobs.submission.job_client import JobClient
from server.clerk.finish_batch import every_line, finish_batch
from server.clerk.import_batch import import_batch
from server.clerk.next_step import NextStep
from server.stores import Stores
from testing.jobs.sample_jobs import worker_report
from tests.server.batches.conftest import OPTIONS, NoHints, imported, new_batch, run
from tests.server.conftest import chat_line


def with_an_empty_fleet(stores: Stores) -> Stores:
    """The stores, with jobs of their own, for which no worker has served a model yet."""
    return replace(stores, jobs=MemoryJobStore(time.time))


def finished(stores: Stores, batch: Batch) -> tuple[Batch, list[Any], list[Any]]:
    """The batch after a finish, with the lines of its output and error file."""
    finish_batch(stores, "p", batch.id)
    after = stores.batches.get("p", batch.id)
    assert after is not None
    files = []
    for file_id in (after.output_file_id, after.error_file_id):
        stream = stores.content.open("p", file_id) if file_id is not None else None
        files.append([json.loads(line) for line in stream.readlines()] if stream is not None else [])
        if stream is not None:
            stream.close()
    return after, files[0], files[1]


def without(line: dict[str, Any], *path: str) -> dict[str, Any]:
    """The line without one of its keys."""
    *outer, last = path
    inner = line
    for key in outer:
        inner = inner[key]
    del inner[last]
    return line


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ([chat_line(1), '{"custom_id": '], [(2, "invalid_json_line", None)]),
        ([chat_line(1), "", chat_line(1)], [(3, "duplicate_custom_id", "custom_id")]),
        ([chat_line(1) | {"url": "/v1/completions"}], [(1, "url_mismatch", "url")]),
        ([chat_line(1), chat_line(2, model="other")], [(2, "model_mismatch", "body.model")]),
        ([chat_line(1, model="gpt-6")], [(None, "model_not_found", "body.model")]),
        ([without(chat_line(1), "method")], [(1, "missing_required_parameter", "method")]),
        ([without(chat_line(1), "body", "model")], [(1, "missing_required_parameter", "body.model")]),
        ([chat_line(1), chat_line(2, temperature="hot", top_p=7)], [(2, "invalid_line", None)]),
        (["", " "], [(None, "empty_file", None)]),
    ],
)
def test_a_file_with_faults_fails_its_batch_and_makes_no_job(stores: Stores, lines: Any, faults: Any) -> None:
    batch = imported(stores, new_batch(stores, *lines))
    assert batch.phase is BatchPhase.FAILED
    assert [(error.line, error.code, error.param) for error in batch.errors] == faults
    assert (batch.job_id, stores.jobs.jobs.newest()) == (None, [])


@pytest.mark.parametrize("is_loading", [True, False], ids=["reported as loading", "not reported yet"])
def test_a_batch_waits_for_the_worker_that_loads_its_model(stores: Stores, is_loading: bool) -> None:
    stores = with_an_empty_fleet(stores)
    if is_loading:
        report = structs.replace(worker_report(), model="late", state="loading")
        stores.jobs.fleet.report_worker(report, ttl_seconds=60)
    card = ModelCard("late", vocab_size=1000, max_model_len=2048, has_chat_template=True)
    ready = threading.Timer(0.2, stores.jobs.fleet.publish_model, [card])
    ready.start()
    batch = new_batch(stores, chat_line(1, model="late"))
    assert imported(stores, batch).phase is BatchPhase.SUBMITTED
    ready.join()


def test_an_import_waits_for_the_worker_that_starts_with_the_service(stores: Stores) -> None:
    own = structs.replace(OPTIONS, own_model="late")
    ready = threading.Timer(0.2, stores.jobs.fleet.publish_model, [ModelCard("late", 1000, 2048, True)])
    ready.start()
    batch = new_batch(stores, chat_line(1, model="late"))
    assert imported(stores, batch, own).phase is BatchPhase.SUBMITTED
    ready.join()


def test_an_import_that_was_killed_begins_again_and_finds_its_job(stores: Stores) -> None:
    batch = new_batch(stores, chat_line(1))
    first = imported(stores, batch)
    before = structs.replace(batch, revision=first.revision + 1)  # as if the first one had not saved the batch
    assert stores.batches.save("p", before)
    again = imported(stores, before)
    assert (again.job_id, again.phase) == (first.job_id, BatchPhase.SUBMITTED)
    assert len(stores.jobs.jobs.newest()) == 1


@pytest.mark.parametrize("moment", ["add_shard", "claim", "open"])
def test_an_import_that_is_killed_before_its_job_is_open_leaves_no_second_job(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    batch = new_batch(stores, chat_line(1))
    with monkeypatch.context() as patch:
        patch.setattr(type(stores.jobs.submissions), moment, _die)
        patch.setattr("jobs.submission.submission._take_back", lambda *_: None)  # after kill -9 nothing is taken back
        with pytest.raises(_Killed):
            imported(stores, batch)
    assert [job.state for job in stores.jobs.jobs.newest()] == [JobState.VALIDATING]
    job_id = imported(stores, batch).job_id
    assert [(job.id, job.state) for job in stores.jobs.jobs.newest()] == [(job_id, JobState.QUEUED)]


def test_a_batch_that_ends_after_a_killed_import_leaves_no_job(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = new_batch(stores, chat_line(1))
    with monkeypatch.context() as patch:
        patch.setattr(type(stores.jobs.submissions), "open", _die)
        patch.setattr("jobs.submission.submission._take_back", lambda *_: None)
        with pytest.raises(_Killed):
            imported(stores, batch)
    entry = Entry("p", batch.id)
    step = NextStep(stores, OPTIONS, lambda *_: True)
    assert stores.batches.save("p", structs.replace(batch, revision=batch.revision + 1, cancelling_at=5.0))
    step.take(entry)
    step.take(entry)
    assert stores.jobs.jobs.newest() == []


class _Killed(BaseException):
    """The process ends here."""


def _die(*_: object, **__: object) -> None:
    raise _Killed


def test_a_batch_whose_file_is_gone_fails(stores: Stores) -> None:
    batch = new_batch(stores, chat_line(1))
    stores.content.remove("p", batch.input_file_id)
    assert [error.code for error in imported(stores, batch).errors] == ["file_not_found"]


def test_a_batch_that_is_cancelled_during_its_import_has_a_job_that_ends(stores: Stores) -> None:
    batch = new_batch(stores, chat_line(1))
    import_batch(stores, _CancelFirst(stores, batch), "p", batch.id, OPTIONS)
    after = stores.batches.get("p", batch.id)
    assert after is not None
    assert (after.phase, after.cancelling_at) == (BatchPhase.SUBMITTED, 5.0)
    assert stores.jobs.jobs.get(after.job_id or "").state is JobState.CANCELLED
    done, output, errors = finished(stores, after)
    assert (done.phase, output, [line["custom_id"] for line in errors]) == (BatchPhase.CANCELLED, [], ["r1"])


class _CancelFirst(JobClient):
    """Cancels the batch before it submits the job."""

    def __init__(self, stores: Stores, batch: Batch) -> None:
        super().__init__(stores.jobs, NoHints())
        cancelled = next_revision(structs.replace(batch, cancelling_at=5.0), batch)
        object.__setattr__(self, "_cancel", lambda: stores.batches.save("p", cancelled))

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        assert self._cancel()  # type: ignore[attr-defined]
        return super().submit(*args, **kwargs)


def test_the_files_of_a_batch_hold_each_line_once_and_the_counts_are_theirs(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, *map(chat_line, range(40))))
    assert (batch.total, batch.model) == (40, "demo")
    job = run(stores, batch, failing=frozenset({3, 39}))
    assert job.spec.batch == batch.id
    done, output, errors = finished(stores, batch)
    assert (done.phase, done.counts) == (BatchPhase.COMPLETED, Counts(38, 2, 380, 114))
    assert [line["custom_id"] for line in output] == [f"r{number}" for number in range(40) if number not in (3, 39)]
    assert [line["custom_id"] for line in errors] == ["r3", "r39"]
    file = stores.files.get("p", done.output_file_id or "")
    assert file is not None
    assert (file.filename, file.purpose) == (f"{batch.id}_output.jsonl", "batch_output")
    assert (file.expires_at or 0) - file.created_at == 30 * 86_400


def test_a_batch_that_was_cancelled_after_its_last_line_ends_as_cancelled_with_all_results(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch)
    cancelled = next_revision(structs.replace(batch, cancelling_at=5.0), batch)
    assert stores.batches.save("p", cancelled)
    done, output, _ = finished(stores, cancelled)
    assert (done.phase, done.cancelling_at, len(output)) == (BatchPhase.CANCELLED, 5.0, 1)


def test_a_batch_of_which_every_line_failed_is_completed_without_an_output_file(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1), output_expires_seconds=3600))
    run(stores, batch, failing=frozenset({0}))
    done, _, errors = finished(stores, batch)
    assert (done.phase, done.output_file_id, len(errors)) == (BatchPhase.COMPLETED, None, 1)
    file = stores.files.get("p", done.error_file_id or "")
    assert file is not None
    assert (file.expires_at or 0) - file.created_at == 3600


def test_a_finish_that_is_done_twice_leaves_one_set_of_files(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch)
    first, _, _ = finished(stores, batch)
    second, _, _ = finished(stores, batch)
    assert second == first
    assert len(list(stores.content.older_than(-60))) == 2  # the input and the output


def test_a_job_that_runs_is_not_finished(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    assert finished(stores, batch) == (batch, [], [])


def test_the_job_of_an_ended_batch_is_not_taken_up_again(stores: Stores) -> None:
    batch = imported(stores, new_batch(stores, chat_line(1)))
    run(stores, batch, failing=frozenset({0}))
    with pytest.raises(JobConflict, match=batch.id):
        JobClient(stores.jobs, NoHints()).retry(batch.job_id or "")
    assert stores.jobs.jobs.get(batch.job_id or "").failed == 1


def test_a_line_whose_result_is_lost_counts_as_failed(stores: Stores) -> None:
    job = run(stores, imported(stores, new_batch(stores, *map(chat_line, range(5)))))
    found = [completion for completion in stores.jobs.jobs.results(job.id) if completion.index in (1, 3)]
    lines = list(every_line(job, found))
    assert [(line.index, line.error is None) for line in lines] == [(n, n in (1, 3)) for n in range(5)]
