"""Lines whose completions are known before anything is run."""

from __future__ import annotations

import pytest

from jobs.errors import JobNotFound
from jobs.records.job import JobState, ShardRef
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit

LONG = 60.0


def test_known_lines_count_as_completed_and_are_not_run(store: JobStore) -> None:
    first, second = submit(store, new_job(lines=6, shard_size=3), known={0, 2, 4})
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.reused, job.total_output_tokens) == (JobState.QUEUED, 3, 3, 12)
    assert [line.text for line in store.jobs.results("job-1")] == ["reused"] * 3
    lease = store.work.lease(first, "worker", LONG)
    assert lease is not None
    assert [prompt.index for prompt in store.work.pending(lease)] == [1]
    assert store.work.write(lease, [completed(0, "again"), completed(1)]) == 1
    store.work.finish_shard(lease, shard_stats())
    assert [line.index for line in store.jobs.results("job-1")] == [0, 1, 2, 4]
    assert store.recovery.recoverable_shards("demo", 10) == [second]


def test_a_shard_whose_lines_are_all_known_needs_no_worker(store: JobStore) -> None:
    assert submit(store, new_job(lines=4), known={0, 1}) == [ShardRef("job-1", 1)]
    assert store.jobs.get("job-1").shards_done == 1
    assert store.work.lease(ShardRef("job-1", 0), "worker", LONG) is None
    found = store.work.lease_next("demo", "worker", LONG)
    assert isinstance(found, Leased)
    store.work.write(found.lease, [completed(2), completed(3)])
    assert store.work.finish_shard(found.lease, shard_stats())


def test_a_job_whose_lines_are_all_known_is_completed_at_once(store: JobStore) -> None:
    assert submit(store, new_job(), known=range(5)) == []
    job = store.jobs.get("job-1")
    assert (job.state, job.completed, job.reused) == (JobState.COMPLETED, 5, 5)
    stats = store.jobs.stats("job-1")
    assert (stats.reused, stats.duration_seconds, stats.output_throughput) == (5, None, None)
    assert store.recovery.recoverable_shards("demo", 10) == []
    assert store.submissions.open("job-1") == []
    store.control.delete("job-1")


def test_storing_a_shard_with_known_lines_twice_counts_them_once(store: JobStore) -> None:
    spec = new_job(lines=2)
    store.submissions.create(spec)
    for _ in range(2):
        store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0), [completed(0)])
    store.submissions.open(spec.id)
    assert (store.jobs.get(spec.id).completed, store.jobs.get(spec.id).reused) == (1, 1)


def test_what_was_reused_is_in_no_rate_and_no_latency(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=4, shard_size=4), known={0, 1, 2})
    lease = store.work.lease(shard, "worker", LONG)
    assert lease is not None
    store.work.write(lease, [completed(3)])
    store.work.finish_shard(lease, shard_stats())
    stats = store.jobs.stats("job-1")
    assert (stats.completed, stats.total_output_tokens, stats.finish_reasons) == (4, 16, {"stop": 4})
    if stats.duration_seconds:
        assert stats.output_throughput == pytest.approx(4 / stats.duration_seconds)
        assert stats.request_throughput == pytest.approx(1 / stats.duration_seconds)
        assert stats.total_token_throughput == pytest.approx(7 / stats.duration_seconds)


def test_a_retry_keeps_what_was_reused(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2), known={0})
    lease = store.work.lease(shard, "worker", LONG)
    assert lease is not None
    store.work.write(lease, [failed(1)])
    store.work.finish_shard(lease, shard_stats())
    assert store.control.retry("job-1") == [shard]
    assert [line.text for line in store.jobs.results("job-1")] == ["reused"]


def test_a_shards_lines_are_read_with_their_results_whether_it_is_finished_or_not(store: JobStore) -> None:
    spec = new_job(lines=4)
    finished, running = submit(store, spec)
    for shard, lines in ((finished, [completed(0), failed(1)]), (running, [completed(3)])):
        lease = store.work.lease(shard, "worker", LONG)
        assert lease is not None
        store.work.write(lease, lines)
        if shard == finished:
            store.work.finish_shard(lease, shard_stats())
    assert [prompt for shard in (0, 1) for prompt, _ in store.jobs.lines(ShardRef("job-1", shard))] == [
        prompt for shard in (0, 1) for prompt in prompts_of(spec, shard)
    ]
    assert [line for _, line in store.jobs.lines(finished)] == [completed(0), failed(1)]
    assert [line for _, line in store.jobs.lines(running)] == [None, completed(3)]
    with pytest.raises(JobNotFound):
        store.jobs.lines(ShardRef("no-such-job", 0))
