"""A job's history: what workers wrote in each span of time, over its whole life."""

from __future__ import annotations

from copy import deepcopy

import pytest
import redis

from jobs.errors import JobNotFound, RecordDamaged
from jobs.keys import JobKeys
from jobs.records.job import ShardRef
from jobs.stats.history import FIRST_SPAN_SECONDS, MAX_SPANS, HistoryCounter
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0
Counts = tuple[int, int, int]  # completed lines, failed lines, output tokens


def counts_in(store: JobStore) -> list[Counts]:
    """What the spans of the job hold, oldest first."""
    spans = store.jobs.history("job-1").spans
    return [(span.completed, span.failed, span.output_tokens) for span in spans]


def total(counts: list[Counts]) -> Counts:
    completed, failed, tokens = (sum(column) for column in zip(*counts, strict=True))
    return completed, failed, tokens


def test_a_job_that_nobody_began_has_an_empty_history(store: JobStore) -> None:
    submit(store, new_job())
    history = store.jobs.history("job-1")
    assert (history.span_seconds, history.spans) == (FIRST_SPAN_SECONDS, ())


def test_lines_and_tokens_stand_in_the_span_in_which_they_were_written(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=4, shard_size=4))
    lease = store.work.lease(shard, "worker-1", 2 * 3600.0)
    assert lease is not None
    store.work.write(lease, [completed(0, tokens=5), failed(1)])
    under_test.let_pass(3600)
    began = under_test.now()
    store.work.write(lease, [completed(2, tokens=7)])
    history = store.jobs.history("job-1")
    assert counts_in(store) == [(1, 1, 5), (1, 0, 7)]
    first, second = history.spans
    assert began - FIRST_SPAN_SECONDS < second.at <= under_test.now()
    assert second.at - first.at >= 3600 - FIRST_SPAN_SECONDS


def test_a_shard_that_two_workers_run_counts_once(store: JobStore) -> None:
    (shard,) = submit(store, new_job(lines=2))
    lost = store.work.lease(shard, "worker-1", LONG)
    assert lost is not None
    store.work.write(lost, [completed(0, tokens=5)])
    store.work.release(lost)
    lease = store.work.lease(shard, "worker-2", LONG)
    assert lease is not None
    store.work.write(lease, [completed(0, tokens=50), completed(1, tokens=7)])
    store.work.write(lease, [completed(1, tokens=7)])
    store.work.finish_shard(lease, shard_stats())
    assert total(counts_in(store)) == (2, 0, 12)


def test_lines_that_the_store_ends_or_takes_over_are_no_work(store: JobStore) -> None:
    submit(store, new_job(lines=4), known={0})
    lease = store.work.lease(ShardRef("job-1", 0), "worker-1", LONG)
    assert lease is not None
    store.work.write(lease, [completed(1, tokens=5)])
    store.control.request_cancel("job-1")
    store.work.finish_shard(lease, shard_stats())
    assert store.jobs.get("job-1").failed == 2
    assert total(counts_in(store)) == (1, 0, 5)


def test_the_history_of_a_deleted_job_is_gone(store: JobStore) -> None:
    submit(store, new_job())
    store.control.request_cancel("job-1")
    store.control.delete("job-1")
    with pytest.raises(JobNotFound):
        store.jobs.history("job-1")


def test_spans_become_longer_before_there_are_too_many() -> None:
    counter, begin = HistoryCounter(), 1_700_000_000.0
    for number in range(3 * MAX_SPANS):  # 18 hours
        counter.add(begin + number * FIRST_SPAN_SECONDS, 2, 1, 10)
    history = counter.history()
    assert history.span_seconds == 60
    assert len(history.spans) <= MAX_SPANS
    assert (
        sum(span.completed for span in history.spans),
        sum(span.failed for span in history.spans),
        sum(span.output_tokens for span in history.spans),
    ) == (6 * MAX_SPANS, 3 * MAX_SPANS, 30 * MAX_SPANS)
    assert {span.at % 60 for span in history.spans} == {0}
    assert {span.output_tokens for span in history.spans[1:-1]} == {40}


def test_both_stores_merge_spans_alike(client: redis.Redis) -> None:
    """The memory store's rules are the test's own: the server's clock cannot be moved through a day."""
    store, key = RedisJobStore(RedisServer(client)), JobKeys("job-1").history
    (shard,) = submit(store, new_job(lines=2))
    now = int(client.time()[0])
    counter = HistoryCounter()
    for age in range(3, 3 * MAX_SPANS, 3):  # gaps must not hinder the merging
        counter.add(now - age * FIRST_SPAN_SECONDS, age, 1, 7 * age)
    for number, counts in counter.counts.items():
        client.hset(key, str(number), " ".join(map(str, counts)))
    client.hset(key, "span_seconds", FIRST_SPAN_SECONDS)
    client.hset(key, "1", "1 1 1")  # one span more than the last that fits
    counter.add(FIRST_SPAN_SECONDS, 1, 1, 1)
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    before = client.time()[0]
    store.work.write(lease, [completed(0, tokens=5), failed(1)])
    after = client.time()[0]
    expected = [deepcopy(counter) for _ in range(2)]
    for moment, each in zip((before, after), expected, strict=True):
        each.add(int(moment), 1, 1, 5)
        assert each.span_seconds > FIRST_SPAN_SECONDS
    assert client.hlen(key) - 1 <= MAX_SPANS
    assert store.jobs.history("job-1") in [each.history() for each in expected]


def test_a_damaged_history_is_named(client: redis.Redis) -> None:
    store, key = RedisJobStore(RedisServer(client)), JobKeys("job-1").history
    submit(store, new_job())
    client.hset(key, "7", "seven")
    with pytest.raises(RecordDamaged, match="history"):
        store.jobs.history("job-1")
