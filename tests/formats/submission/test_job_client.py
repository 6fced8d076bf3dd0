"""The client of the queue: the store first, hints after, and a lost hint fails nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import JobConflict, QwenBatchError, StoreFull, StoreUnavailable
from jobs.files.prompt_file import PromptFile
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Job, JobState, ShardRef
from jobs.records.shard_stats import ShardStats
from jobs.stores.protocol import JobStore
from jobs.submission.job_client import JobClient
from jobs.submission.submit_options import SubmitOptions
from tests.formats.submission.submitting import Hints, submit_file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[PromptFile]:
    """Twenty good lines, which make two shards."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"prompt": "{n}"}}\n' for n in range(20)))
    with PromptFile.open(str(path), io.BytesIO()) as opened:
        yield opened


@pytest.fixture
def job(store: JobStore, model: str, file: PromptFile) -> Job:
    return submit_file(store, Hints(), file, SubmitOptions(model)).job


def fail_every_line(store: JobStore, job: Job) -> None:
    """Play the worker that fails each line of a job."""
    for index in range(job.spec.num_shards):
        lease = store.work.lease(ShardRef(job.id, index), "worker", 60)
        assert lease is not None
        failed = [Completion.failed_prompt(p, ErrorCode.INTERNAL_ERROR, "Broken.") for p in store.work.pending(lease)]
        store.work.write(lease, failed)
        store.work.finish_shard(lease, ShardStats("worker", "cpu", "float32", "none", True, 0.0, 0.0))


Step = Callable[[JobClient, Job, PromptFile], object]


def submit(client: JobClient, job: Job, file: PromptFile) -> None:
    options = SubmitOptions(job.spec.model, seed=1)
    client.submit(client.check(file, options), options)


def extend(client: JobClient, job: Job, file: PromptFile) -> None:
    more = Path(file.name).with_name("more.jsonl")
    more.write_text('{"prompt": "more"}\n')
    with PromptFile.open(str(more), io.BytesIO()) as opened:
        longer, report = client.extend(job.id, opened)
    assert (longer.spec.num_lines, report.num_lines) == (21, 1)


def retry(client: JobClient, job: Job, _file: PromptFile) -> None:
    fail_every_line(client.store, job)
    assert client.retry(job.id)


def resume(client: JobClient, job: Job, _file: PromptFile) -> None:
    client.store.control.pause(job.id)
    client.resume(job.id)


@pytest.mark.parametrize(("step", "shards"), [(submit, 2), (extend, 1), (retry, 2), (resume, 2)])
def test_each_step_that_makes_work_hints_its_shards(
    store: JobStore, job: Job, file: PromptFile, step: Step, shards: int
) -> None:
    hints = Hints()
    step(JobClient(store, hints), job, file)
    assert len(hints.sent) == shards
    assert {model for model, _ in hints.sent} == {job.spec.model}


@pytest.mark.parametrize("step", [submit, extend, retry, resume])
@pytest.mark.parametrize("error", [StoreUnavailable("Gone."), StoreFull("Full.")], ids=["gone", "full"])
def test_a_lost_hint_fails_no_step_because_workers_look_in_the_store(
    store: JobStore, job: Job, file: PromptFile, step: Step, error: QwenBatchError
) -> None:
    step(JobClient(store, Hints(error)), job, file)
    assert store.jobs.get(job.id).state is JobState.QUEUED
    assert not store.jobs.get(job.id).paused
    assert len(store.recovery.recoverable_shards(job.spec.model, 10)) >= 2


def test_a_step_that_the_store_refuses_sends_no_hint(store: JobStore, job: Job) -> None:
    hints = Hints()
    client = JobClient(store, hints)
    with pytest.raises(JobConflict):
        client.retry(job.id)
    store.control.request_cancel(job.id)
    with pytest.raises(JobConflict):
        client.resume(job.id)
    assert hints.sent == []


def test_a_job_without_failed_lines_has_nothing_to_retry(store: JobStore, job: Job) -> None:
    for index in range(job.spec.num_shards):
        lease = store.work.lease(ShardRef(job.id, index), "worker", 60)
        assert lease is not None
        store.work.write(lease, [Completion(p.index, p.id, "x", "stop") for p in store.work.pending(lease)])  # type: ignore[arg-type]
        store.work.finish_shard(lease, ShardStats("worker", "cpu", "float32", "none", True, 0.0, 0.0))
    hints = Hints()
    assert not JobClient(store, hints).retry(job.id)
    assert hints.sent == []


def test_a_repeated_submission_returns_its_job_and_sends_no_hint(store: JobStore, model: str, file: PromptFile) -> None:
    hints, options = Hints(), SubmitOptions(model)
    client = JobClient(store, hints)
    checked = client.check(file, options)
    first, second = (client.submit(checked, options, f"said:{model}") for _ in range(2))
    assert (first.is_new, second.is_new, second.job.id) == (True, False, first.job.id)
    assert len(hints.sent) == 2
