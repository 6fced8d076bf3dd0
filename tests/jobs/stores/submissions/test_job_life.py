"""A job from its creation to its results, on every store."""

from __future__ import annotations

import pytest

from jobs.errors import JobConflict, JobNotFound
from jobs.records.job import JobState, ShardRef
from jobs.stores.packing import pack_prompts
from jobs.stores.protocol import JobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit

LONG = 60.0


def finish(store: JobStore, shard: ShardRef, worker_id: str = "worker-1") -> bool:
    """Run a shard as a worker that completes every line would."""
    lease = store.work.lease(shard, worker_id, LONG)
    assert lease is not None
    store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
    return store.work.finish_shard(lease, shard_stats(worker_id))


def test_a_new_job_is_validating_until_it_is_opened(store: JobStore) -> None:
    spec = new_job()
    store.submissions.create(spec)
    assert store.jobs.get(spec.id).state is JobState.VALIDATING
    for shard in range(3):
        store.submissions.add_shard(ShardRef(spec.id, shard), prompts_of(spec, shard))
    assert store.submissions.open(spec.id) == [ShardRef(spec.id, shard) for shard in range(3)]
    job = store.jobs.get(spec.id)
    assert (job.state, job.spec, job.done, job.first_step_at) == (JobState.QUEUED, spec, 0, None)


def test_every_step_of_a_submission_may_be_repeated(store: JobStore) -> None:
    spec = new_job(lines=2)
    for _ in range(2):
        store.submissions.create(spec)
    for _ in range(2):
        store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
    assert store.submissions.open(spec.id) == store.submissions.open(spec.id) == [ShardRef(spec.id, 0)]
    assert finish(store, ShardRef(spec.id, 0))


def test_an_id_belongs_to_one_job(store: JobStore) -> None:
    store.submissions.create(new_job(lines=2))
    with pytest.raises(JobConflict, match="another job 'job-1'"):
        store.submissions.create(new_job(lines=3, model="another model"))
    assert store.jobs.get("job-1").spec.num_lines == 2
    store.submissions.add_shard(ShardRef("job-1", 0), prompts_of(new_job(lines=2), 0))
    store.submissions.open("job-1")
    assert store.recovery.recoverable_shards("another model", 10) == []


def test_a_job_that_lacks_shards_cannot_be_opened(store: JobStore) -> None:
    spec = new_job()
    store.submissions.create(spec)
    store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0))
    with pytest.raises(ValueError, match="all of its 3 shards"):
        store.submissions.open(spec.id)


def test_an_opened_job_takes_no_more_shards(store: JobStore) -> None:
    spec = new_job(lines=2)
    submit(store, spec)
    with pytest.raises(JobConflict, match="queued"):
        store.submissions.add_shard(ShardRef(spec.id, 1), prompts_of(spec, 0))


def test_a_job_without_lines_is_completed_when_it_is_opened(store: JobStore) -> None:
    assert submit(store, new_job(lines=0)) == []
    assert store.jobs.get("job-1").state is JobState.COMPLETED
    assert list(store.jobs.results("job-1")) == []


def test_the_first_lease_starts_the_job_and_the_last_shard_ends_it(store: JobStore) -> None:
    first, second, third = submit(store, new_job())
    assert not finish(store, second)
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.shards_done) == (JobState.IN_PROGRESS, 2, 1)
    assert not finish(store, first)
    assert finish(store, third)
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed, job.shards_done) == (JobState.COMPLETED, 5, 0, 3)
    assert job.first_step_at is not None and job.ended_at is not None
    assert job.first_step_at <= job.ended_at


def test_a_job_with_failed_lines_is_completed_with_counts_that_say_so(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert store.work.write(lease, [failed(0), completed(1, tokens=7)]) == 2
    assert store.work.finish_shard(lease, shard_stats())
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.failed) == (JobState.COMPLETED, 1, 1)
    assert (job.total_input_tokens, job.total_output_tokens) == (3, 7)


def test_a_worker_gets_the_lines_that_were_submitted(store: JobStore) -> None:
    spec = new_job()
    shard = submit(store, spec)[2]
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert store.work.pending(lease) == prompts_of(spec, 2)


def test_a_shard_that_is_packed_already_is_stored_like_its_lines(store: JobStore) -> None:
    spec = new_job(lines=4)
    store.submissions.create(spec)
    for shard in range(2):
        for _ in range(2):  # adding it again changes nothing
            store.submissions.add_packed_shard(ShardRef(spec.id, shard), pack_prompts(prompts_of(spec, shard)))
    for ref in store.submissions.open(spec.id):
        lease = store.work.lease(ref, "worker-1", LONG)
        assert lease is not None
        assert store.work.pending(lease) == prompts_of(spec, ref.index)
    with pytest.raises(JobConflict):
        store.submissions.add_packed_shard(ShardRef(spec.id, 2), pack_prompts([]))


def test_only_lines_without_a_result_are_pending(store: JobStore) -> None:
    spec = new_job(lines=3, shard_size=3)
    (shard,) = submit(store, spec)
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(1)])
    assert [prompt.index for prompt in store.work.pending(lease)] == [0, 2]


def test_a_line_keeps_its_first_result(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert store.work.write(lease, [completed(0, "first")]) == 1
    assert store.work.write(lease, [completed(0, "second", tokens=9), completed(1), completed(1, "again")]) == 1
    assert [completion.text for completion in store.jobs.results("job-1")] == ["first", "It is 1."]
    assert store.jobs.get("job-1").total_output_tokens == 8


def test_writing_nothing_changes_nothing(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    assert store.work.write(lease, []) == 0
    assert store.jobs.get("job-1").last_line_at is None


def test_results_come_in_input_order_also_while_the_job_runs(store: JobStore) -> None:
    spec = new_job(lines=30, shard_size=12)
    shards = submit(store, spec)
    finish(store, shards[2])
    lease = store.work.lease(shards[0], "worker-2", LONG)
    assert lease is not None
    store.work.write(lease, [completed(11), completed(2), completed(10)])
    assert [completion.index for completion in store.jobs.results(spec.id)] == [2, 10, 11, *range(24, 30)]


def test_results_are_what_was_written(store: JobStore) -> None:
    written = [completed(0, "Ünïcødé \u0000 \U0001f600\n"), failed(1)]
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, written)
    assert list(store.jobs.results("job-1")) == written
    store.work.finish_shard(lease, shard_stats())
    assert list(store.jobs.results("job-1")) == written


def test_a_shard_that_lacks_results_cannot_be_finished(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(0)])
    with pytest.raises(ValueError, match="shard 0"):
        store.work.finish_shard(lease, shard_stats())
    assert store.jobs.get("job-1").shards_done == 0


def test_jobs_are_listed_newest_first(store: JobStore) -> None:
    for name in ("job-2", "job-1", "job-3"):
        submit(store, new_job(name))
    assert [job.id for job in store.jobs.newest()] == ["job-3", "job-2", "job-1"]
    assert [job.id for job in store.jobs.newest(limit=2)] == ["job-3", "job-2"]


def test_an_unknown_job_is_an_error_and_never_an_empty_answer(store: JobStore) -> None:
    readers = (
        store.jobs.get,
        store.jobs.stats,
        store.jobs.results,
        store.jobs.timeline,
        store.control.request_cancel,
        store.control.retry,
        store.control.delete,
    )
    for method in (*readers, store.submissions.open):
        with pytest.raises(JobNotFound, match="no job 'nope'"):
            method("nope")
    with pytest.raises(JobNotFound):
        store.submissions.add_shard(ShardRef("nope", 0), [])
    assert store.work.lease(ShardRef("nope", 0), "worker-1", LONG) is None


def test_the_store_answers(store: JobStore) -> None:
    store.ping()
