"""Opening failed lines again, and freeing a job."""

from __future__ import annotations

import pytest

from jobs.errors import JobConflict, JobNotFound
from jobs.records.completion import ErrorCode
from jobs.records.job import JobState, NewJob, ShardRef
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit

LONG = 60.0


def run_with_failures(store: JobStore, failing: set[int], *, lines: int = 6) -> None:
    """A completed job of which some lines failed."""
    for shard in submit(store, new_job(lines=lines)):
        lease = store.work.lease(shard, "worker-1", LONG)
        assert lease is not None
        for prompt in store.work.pending(lease):
            store.work.write(lease, [failed(prompt.index) if prompt.index in failing else completed(prompt.index)])
        store.work.finish_shard(lease, shard_stats())


def broken_off_submission(store: JobStore) -> NewJob:
    """A job whose client stored the first shard and then stopped."""
    spec = new_job()
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
    return spec


def test_retry_opens_the_failed_lines_and_no_others(store: JobStore) -> None:
    run_with_failures(store, {1, 4, 5})
    assert store.control.retry("job-1") == [ShardRef("job-1", 0), ShardRef("job-1", 2)]
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed, job.shards_done) == (JobState.QUEUED, 3, 0, 1)
    assert (job.ended_at, job.cancel_requested) == (None, False)
    assert [completion.index for completion in store.jobs.results("job-1")] == [0, 2, 3]


def test_a_retried_job_ends_again_with_every_line_once(store: JobStore) -> None:
    run_with_failures(store, {1, 4})
    for shard in store.control.retry("job-1"):
        lease = store.work.lease(shard, "worker-2", LONG)
        assert lease is not None
        assert lease.token > 1
        for prompt in store.work.pending(lease):
            assert prompt.index in {1, 4}
            store.work.write(lease, [completed(prompt.index, "second")])
        store.work.finish_shard(lease, shard_stats("worker-2"))
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed, job.shards_done) == (JobState.COMPLETED, 6, 0, 3)
    assert [line.index for line in store.jobs.results("job-1") if line.text == "second"] == [1, 4]
    assert [line.index for line in store.jobs.results("job-1")] == list(range(6))


def test_a_retried_job_is_seen_by_the_recovery(store: JobStore) -> None:
    run_with_failures(store, {1})
    assert store.recovery.recoverable_shards("demo", 10) == []
    store.control.retry("job-1")
    assert store.recovery.recoverable_shards("demo", 10) == [ShardRef("job-1", 0)]


def test_retrying_a_job_without_failures_changes_nothing(store: JobStore) -> None:
    run_with_failures(store, set())
    before = store.jobs.get("job-1")
    assert store.control.retry("job-1") == []
    assert store.jobs.get("job-1") == before


def test_a_cancelled_job_can_be_taken_up_again(store: JobStore) -> None:
    submit(store, new_job())
    store.control.request_cancel("job-1")
    assert len(store.control.retry("job-1")) == 3
    job = store.jobs.get("job-1")
    assert (job.state, job.done, job.cancel_requested) == (JobState.QUEUED, 0, False)


def test_a_running_job_cannot_be_retried(store: JobStore) -> None:
    submit(store, new_job())
    with pytest.raises(JobConflict, match="queued"):
        store.control.retry("job-1")


def test_a_job_that_was_never_submitted_whole_cannot_be_retried(store: JobStore) -> None:
    spec = broken_off_submission(store)
    store.control.request_cancel(spec.id)
    with pytest.raises(JobConflict, match="before its submission was complete"):
        store.control.retry(spec.id)


def test_a_retried_shard_may_lose_as_many_workers_as_a_new_one(store: JobStore) -> None:
    run_with_failures(store, {0}, lines=1)
    (shard,) = store.control.retry("job-1")
    lease = store.work.lease(shard, "worker-2", LONG)
    assert lease is not None
    assert lease.attempt == 1


def test_cancelling_a_retried_job_keeps_what_was_complete(store: JobStore) -> None:
    run_with_failures(store, {1})
    store.control.retry("job-1")
    job = store.control.request_cancel("job-1")
    assert (job.state, job.completed, job.failed) == (JobState.CANCELLED, 5, 1)
    codes = {line.error.code for line in store.jobs.results("job-1") if line.error}
    assert codes == {ErrorCode.CANCELLED}


def test_a_deleted_job_is_gone(store: JobStore) -> None:
    run_with_failures(store, {1})
    submit(store, new_job("job-2"))
    store.control.delete("job-1")
    with pytest.raises(JobNotFound):
        store.jobs.get("job-1")
    with pytest.raises(JobNotFound):
        store.control.delete("job-1")
    assert [job.id for job in store.jobs.newest()] == ["job-2"]


def test_a_running_job_cannot_be_deleted(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    with pytest.raises(JobConflict, match="queued"):
        store.control.delete("job-1")
    store.work.lease(shard, "worker-1", LONG)
    with pytest.raises(JobConflict, match="in progress"):
        store.control.delete("job-1")


def test_a_submission_that_broke_off_can_be_deleted(store: JobStore) -> None:
    spec = broken_off_submission(store)
    store.control.delete(spec.id)
    assert store.jobs.newest() == []


def test_the_results_of_a_job_deleted_under_a_reader_end_with_an_error(store: JobStore) -> None:
    run_with_failures(store, {1}, lines=40)
    lines = store.jobs.results("job-1")
    assert next(lines).index == 0
    store.control.delete("job-1")
    try:
        rest = [line.index for line in lines]
    except JobNotFound:
        return
    assert rest == list(range(1, 40))  # never a part that looks like the whole


def test_shards_with_failed_lines_are_found_without_reading_results(store: JobStore) -> None:
    run_with_failures(store, {1, 4, 5})
    assert list(store.jobs.failed_shards("job-1")) == [ShardRef("job-1", 0), ShardRef("job-1", 2)]
    store.control.retry("job-1")
    assert list(store.jobs.failed_shards("job-1")) == []
    with pytest.raises(JobNotFound):
        list(store.jobs.failed_shards("job-2"))
