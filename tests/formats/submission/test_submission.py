"""From a file to an open job: all of it, or nothing."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from jobs.errors import InvalidInput, JobConflict, StoreFull, StoreUnavailable
from jobs.files import prompt_spool
from jobs.files.prompt_file import PromptFile
from jobs.files.results.results_file import write_results
from jobs.files.writing.destination import LocalFile
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Job, JobState, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingSettings
from jobs.stores.client_facets import Submissions
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from jobs.submission.job_client import JobClient
from jobs.submission.sharding import shard_size
from jobs.submission.submit_options import SubmitOptions
from tests.formats.submission.submitting import Hints, submit_file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[PromptFile]:
    """Forty good lines."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"id": "q-{n}", "prompt": "{n}"}}\n' for n in range(40)))
    with PromptFile.open(str(path), io.BytesIO()) as opened:
        yield opened


def jobs_of(store: JobStore, model: str) -> list[Job]:
    return [job for job in store.jobs.newest() if job.spec.model == model]


def pending_of(store: JobStore, job: Job) -> list[Prompt]:
    prompts: list[Prompt] = []
    for index in range(job.spec.num_shards):
        lease = store.work.lease(ShardRef(job.id, index), "worker", 60)
        assert lease is not None
        prompts += store.work.pending(lease)
    return prompts


def test_a_submitted_file_is_a_queued_job_whose_shards_are_hinted(store: JobStore, file: PromptFile) -> None:
    hints = Hints()
    job = submit_file(store, hints, file, SubmitOptions("m1", SamplingSettings(temperature=0.5), seed=9)).job
    assert (job.state, job.spec.num_lines, job.spec.shard_size, job.spec.num_shards) == (JobState.QUEUED, 40, 16, 3)
    assert (job.spec.model, job.spec.format, job.spec.source, job.spec.seed) == ("m1", "native", file.name, 9)
    assert job.spec.defaults == SamplingSettings(temperature=0.5)
    assert hints.sent == [("m1", ShardRef(job.id, index)) for index in range(3)]
    assert pending_of(store, job) == [Prompt(index=n, id=f"q-{n}", text=str(n)) for n in range(40)]


def test_the_number_of_lines_in_a_shard_may_be_said(file: PromptFile) -> None:
    store = MemoryJobStore(time.time)
    assert submit_file(store, Hints(), file, SubmitOptions("m1", lines_per_shard=7)).job.spec.num_shards == 6


def test_a_bad_file_leaves_nothing_behind(store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "x"}\n{"prompt": 5}\n')
    hints = Hints()
    with PromptFile.open(str(path), io.BytesIO()) as file, pytest.raises(InvalidInput, match="line 2: `prompt` is 5"):
        submit_file(store, hints, file, SubmitOptions("m2"))
    assert jobs_of(store, "m2") == []
    assert hints.sent == []


def test_skipped_lines_are_stored_with_what_is_wrong_and_counted(store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "x"}\n{"prompt": 5}\n')
    with PromptFile.open(str(path), io.BytesIO()) as file:
        job = submit_file(store, Hints(), file, SubmitOptions("m3", skip_invalid=True)).job
    assert job.spec.num_lines == 2
    assert [prompt.invalid is None for prompt in pending_of(store, job)] == [True, False]


def test_lines_are_checked_against_the_card_that_a_worker_published(store: JobStore, tmp_path: Path) -> None:
    store.fleet.publish_model(ModelCard("m4", vocab_size=10, max_model_len=100, has_chat_template=False))
    path = tmp_path / "ids.jsonl"
    path.write_text('{"prompt": [10]}\n')
    with PromptFile.open(str(path), io.BytesIO()) as file:
        with pytest.raises(InvalidInput, match="the vocabulary of m4 is from 0 to 9"):
            submit_file(store, Hints(), file, SubmitOptions("m4"))
        larger = ModelCard("m4", vocab_size=11, max_model_len=100, has_chat_template=False)
        submit_file(store, Hints(), file, SubmitOptions("m4", card=larger))


def test_a_job_whose_id_is_taken_takes_another_and_leaves_the_holder_alone(
    store: JobStore, file: PromptFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = submit_file(store, Hints(), file, SubmitOptions("taken")).job
    store.control.request_cancel(holder.id)  # only a job that has ended could be deleted
    ids = iter([holder.id, holder.id, "job-20260101-000000-free"])
    monkeypatch.setattr("jobs.submission.submission.new_job_id", lambda _: next(ids))
    second = submit_file(store, Hints(), file, SubmitOptions("taken", seed=1)).job
    assert second.id == "job-20260101-000000-free"
    assert (second.spec.seed, len(pending_of(store, second))) == (1, 40)
    assert store.jobs.get(holder.id).spec == holder.spec


def test_when_every_id_is_taken_the_holder_stays_and_the_error_says_so(
    store: JobStore, file: PromptFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = submit_file(store, Hints(), file, SubmitOptions("all-taken")).job
    store.control.request_cancel(holder.id)
    monkeypatch.setattr("jobs.submission.submission.new_job_id", lambda _: holder.id)
    with pytest.raises(JobConflict, match="There is another job"):
        submit_file(store, Hints(), file, SubmitOptions("all-taken", seed=1))
    assert store.jobs.get(holder.id).spec == holder.spec


class Breaking:
    """Submissions whose `name` breaks with `error` on its third call, or on its first if it is not `add_shard`."""

    def __init__(self, submissions: Submissions, name: str, error: BaseException) -> None:
        self._submissions = submissions
        self._name = name
        self._error = error
        self._calls = 0

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._submissions, name)
        return self._break if name == self._name else method

    def _break(self, *arguments: object) -> object:
        self._calls += 1
        if self._calls == 3 or self._name != "add_shard":
            raise self._error
        return getattr(self._submissions, self._name)(*arguments)


class WithSubmissions:
    """A store with another facet for submissions."""

    def __init__(self, store: JobStore, submissions: Breaking) -> None:
        self._store = store
        self.submissions = submissions

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.mark.parametrize("name", ["create", "add_shard", "open"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreFull("Full.")], ids=["interrupt", "full"])
def test_whatever_ends_a_submission_early_leaves_nothing_behind(
    store: JobStore, file: PromptFile, name: str, error: BaseException
) -> None:
    hints = Hints()
    broken = WithSubmissions(store, Breaking(store.submissions, name, error))
    with pytest.raises(type(error)):
        submit_file(broken, hints, file, SubmitOptions("m5"))  # type: ignore[arg-type]
    assert jobs_of(store, "m5") == []
    assert hints.sent == []


def test_a_file_that_changes_while_it_is_stored_leaves_nothing_behind(store: JobStore, file: PromptFile) -> None:
    class Changing(Breaking):
        def _break(self, *arguments: object) -> object:
            Path(file.name).write_text('{"prompt": "other"}\n')
            return getattr(self._submissions, self._name)(*arguments)

    changing = WithSubmissions(store, Changing(store.submissions, "create", KeyboardInterrupt()))
    with pytest.raises(InvalidInput, match="changed while it was being read"):
        submit_file(changing, Hints(), file, SubmitOptions("m6"))  # type: ignore[arg-type]
    assert jobs_of(store, "m6") == []


def test_hints_that_do_not_get_out_do_not_undo_the_job(store: JobStore, file: PromptFile) -> None:
    job = submit_file(store, Hints(StoreUnavailable("Gone.")), file, SubmitOptions("m7")).job
    assert job.state is JobState.QUEUED
    assert len(store.recovery.recoverable_shards("m7", 10)) == 3


def test_every_submitted_line_comes_back_once_and_in_order(store: JobStore, file: PromptFile, tmp_path: Path) -> None:
    job = submit_file(store, Hints(), file, SubmitOptions("m8")).job
    for index in reversed(range(job.spec.num_shards)):
        lease = store.work.lease(ShardRef(job.id, index), "worker", 60)
        assert lease is not None
        store.work.write(lease, [result_of(prompt) for prompt in reversed(store.work.pending(lease))])
    counts = write_results(store.jobs.results(job.id), store.jobs.get(job.id), LocalFile(tmp_path / "results.jsonl"))
    assert (counts.completed, counts.failed) == (30, 10)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"q-{n}" for n in range(40)]
    with pytest.raises(JobConflict):
        store.control.delete(job.id)


def result_of(prompt: Prompt) -> Completion:
    if prompt.index % 4 == 0:
        return Completion.failed(prompt.index, prompt.id, ErrorCode.INTERNAL_ERROR, "Broken.")
    return Completion(prompt.index, prompt.id, str(prompt.text), FinishReason.STOP)


@pytest.mark.parametrize(
    ("lines", "size"),
    [(1, 16), (16, 16), (1024, 16), (2000, 31), (4096, 64), (65_536, 64), (100_000, 97), (1_000_000, 256)],
)
def test_a_job_has_about_64_shards_and_a_huge_one_many_larger_ones(lines: int, size: int) -> None:
    assert shard_size(lines) == size


@pytest.mark.parametrize("block_lines", [16, 7, 256])
def test_a_table_gives_the_same_job_whether_its_kept_blocks_are_shards_or_not(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_lines: int
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt,gold\n" + "".join(f"r-{number},{number}?,{number}\n" for number in range(40)))
    monkeypatch.setattr(prompt_spool, "_BLOCK_LINES", block_lines)
    client, options = JobClient(store, Hints()), SubmitOptions("m")
    with PromptFile.open(str(path), io.BytesIO()) as file:
        prompts = list(file.check().prompts())
        checked = client.check(file, options)
        assert (checked.packed(16) is not None) == (block_lines == 16)
        job = client.submit(checked, options).job
    assert job.spec.shard_size == 16
    assert pending_of(store, job) == prompts


def test_job_ids_show_their_second_and_differ_within_it() -> None:
    ids = {new_job_id(0.5) for _ in range(20)}
    assert len(ids) > 15
    assert all(re.fullmatch(r"job-19700101-000000-[2-9a-hjkmnp-z]{4}", id) for id in ids)


def test_later_job_ids_sort_after_earlier_ones() -> None:
    moments: Sequence[float] = (0, 1, 100, 1e9, 1.7e9, 1.7e9 + 1)
    ids = [new_job_id(moment) for moment in moments]
    assert ids == sorted(ids)
