"""Lines that are added to a job."""

from __future__ import annotations

import msgspec
import pytest

from jobs.errors import JobConflict, JobNotFound
from jobs.records.job import JobState, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def more(first: int, *sizes: int) -> list[list[Prompt]]:
    """Shards of these sizes, whose lines begin with `first`."""
    shards = []
    for size in sizes:
        shards.append(
            [Prompt(index=line, id=f"line-{line}", text=f"What is {line}?") for line in range(first, first + size)]
        )
        first += size
    return shards


def run(store: JobStore) -> None:
    for shard in store.recovery.recoverable_shards("demo", 10):
        lease = store.work.lease(shard, "worker", LONG)
        assert lease is not None
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        store.work.finish_shard(lease, shard_stats())


def test_added_lines_come_behind_the_jobs_own_and_are_run(store: JobStore) -> None:
    spec = new_job(lines=3)
    submit(store, spec)
    assert store.submissions.extend(spec, more(3, 2, 1)) == [ShardRef("job-1", 2), ShardRef("job-1", 3)]
    assert (store.jobs.get("job-1").spec.num_lines, store.jobs.get("job-1").spec.num_shards) == (6, 4)
    run(store)
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.shards_done) == (JobState.COMPLETED, 6, 4)
    assert [line.index for line in store.jobs.results("job-1")] == list(range(6))


def test_a_job_can_be_extended_again_and_again(store: JobStore) -> None:
    submit(store, new_job(lines=1))
    for lines in range(1, 4):
        store.submissions.extend(store.jobs.get("job-1").spec, more(lines, 1))
    run(store)
    assert store.jobs.get("job-1").completed == 4


def test_a_completed_job_is_queued_again_without_its_deadline(under_test: StoreUnderTest) -> None:
    store = under_test.store
    submit(store, msgspec.structs.replace(new_job(lines=2), deadline_seconds=LONG))
    run(store)
    ended = store.jobs.get("job-1")
    store.submissions.extend(ended.spec, more(2, 2))
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.ended_at, job.deadline_at) == (JobState.QUEUED, 2, None, None)
    assert store.recovery.recoverable_shards("demo", 10) == [ShardRef("job-1", 1)]
    under_test.let_pass(LONG)
    run(store)
    assert store.jobs.get("job-1").state is JobState.COMPLETED
    duration = store.jobs.stats("job-1").duration_seconds
    assert duration is not None and duration < LONG  # the time between does not count


def test_of_two_at_once_one_is_refused_and_nothing_is_doubled(store: JobStore) -> None:
    spec = new_job(lines=2)
    submit(store, spec)
    store.submissions.extend(spec, more(2, 1))
    with pytest.raises(JobConflict, match="Another client extended job"):
        store.submissions.extend(spec, more(2, 1))
    assert store.jobs.get("job-1").spec.num_lines == 3


def test_a_job_that_is_submitted_ends_or_ended_early_takes_no_lines(store: JobStore) -> None:
    spec = new_job(lines=2)
    with pytest.raises(JobNotFound):
        store.submissions.extend(spec, more(2, 1))
    store.submissions.create(spec)
    with pytest.raises(JobConflict, match="is validating"):
        store.submissions.extend(spec, more(2, 1))
    store.control.delete("job-1")
    (shard,) = submit(store, spec)
    lease = store.work.lease(shard, "worker", LONG)
    assert lease is not None
    store.control.request_cancel("job-1")
    with pytest.raises(JobConflict, match="is about to end"):
        store.submissions.extend(spec, more(2, 1))
    store.work.finish_shard(lease, shard_stats())
    with pytest.raises(JobConflict, match="is cancelled"):
        store.submissions.extend(spec, more(2, 1))
