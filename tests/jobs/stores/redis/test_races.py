"""Two parties at the same shard: what happens between the reading half of a change and its script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from jobs import keys
from jobs.errors import LeaseLost
from jobs.keys import JobKeys
from jobs.records.completion import Completion
from jobs.records.job import JobState, Lease, LeaseStatus, ShardRef
from jobs.stores.redis.closing import ShardCloser
from jobs.stores.redis.connection.server import RedisServer, Word
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit
from tests.jobs.stores.conftest import redis_under_test

LONG = 60.0


class InterruptedServer(RedisServer):
    """Lets somebody else act once, just before a script or a command runs."""

    def __init__(self, client: redis.Redis, name: str, somebody: Callable[[], object]) -> None:
        super().__init__(client)
        self._name = name
        self._somebody: Callable[[], object] | None = somebody

    def script(self, name: str, keys: Sequence[str], *args: Word) -> Any:
        self._let_somebody_act(name)
        return super().script(name, keys, *args)

    def run(self, *command: Word) -> Any:
        self._let_somebody_act(command[0])
        return super().run(*command)

    def _let_somebody_act(self, name: Word) -> None:
        if name == self._name and self._somebody is not None:
            somebody, self._somebody = self._somebody, None
            somebody()


@pytest.fixture
def redis_store(client: redis.Redis) -> RedisJobStore:
    """The store on the emptied server."""
    return RedisJobStore(RedisServer(client))


def leased(store: RedisJobStore, shard: ShardRef) -> Lease:
    lease = store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    return lease


def texts(store: RedisJobStore) -> list[str | None]:
    return [line.text for line in store.jobs.results("job-1")]


def expired_and_cancelled(store: RedisJobStore, client: redis.Redis) -> Lease:
    """The lease of a lost worker on the only shard of a job that is to be cancelled."""
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.control.request_cancel("job-1")
    redis_under_test(client).let_pass(LONG)
    return lease


def test_a_line_written_while_its_cancelled_shard_is_finished_keeps_its_completion(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    (shard,) = submit(redis_store, new_job(lines=2))
    lease = leased(redis_store, shard)
    redis_store.control.request_cancel("job-1")
    server = InterruptedServer(client, "finish_shard", lambda: redis_store.work.write(lease, [completed(0, "in time")]))
    assert ShardCloser(server).close_held(lease, shard_stats())
    assert texts(redis_store) == ["in time", None]
    job = redis_store.jobs.get("job-1")
    assert (job.completed, job.failed) == (1, 1)


def test_a_shard_lost_while_it_is_finished_stays_with_its_new_worker(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    (shard,) = submit(redis_store, new_job(lines=2))
    old = leased(redis_store, shard)
    redis_store.work.write(old, [completed(0), completed(1)])

    def hand_over() -> None:
        redis_store.work.release(old)
        leased(redis_store, shard)

    with pytest.raises(LeaseLost):
        ShardCloser(InterruptedServer(client, "finish_shard", hand_over)).close_held(old, shard_stats())
    job = redis_store.jobs.get("job-1")
    assert (job.state, job.shards_done) == (JobState.IN_PROGRESS, 0)
    assert redis_store.jobs.stats("job-1").workers == ()


def test_a_line_written_while_the_recovery_closes_its_shard_keeps_its_completion(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    lease = expired_and_cancelled(redis_store, client)
    server = InterruptedServer(client, "close_unheld", lambda: redis_store.work.write(lease, [completed(1, "in time")]))
    assert ShardCloser(server).close_unheld(lease.shard)
    assert texts(redis_store) == [None, "in time"]


def test_a_worker_that_wakes_up_while_the_recovery_closes_its_shard_keeps_it(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    lease = expired_and_cancelled(redis_store, client)
    server = InterruptedServer(client, "close_unheld", lambda: redis_store.work.renew([lease], LONG))
    assert not ShardCloser(server).close_unheld(lease.shard)
    assert redis_store.work.renew([lease], LONG) == [LeaseStatus.CANCELLED]
    assert redis_store.work.finish_shard(lease, shard_stats())


def test_a_worker_that_wakes_up_while_the_recovery_drops_its_lease_keeps_it(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    (shard,) = submit(redis_store, new_job(lines=2))
    lease = leased(redis_store, shard)
    redis_under_test(client).expire(lease)
    server = InterruptedServer(client, "drop_expired", lambda: redis_store.work.renew([lease], LONG))
    assert RedisJobStore(server).recovery.recoverable_shards("demo", 10) == []
    assert redis_store.work.renew([lease], LONG) == [LeaseStatus.HELD]
    assert redis_store.work.lease(shard, "worker-2", LONG) is None


def twice_crashed(store: RedisJobStore, client: redis.Redis) -> Lease:
    """The expired lease of a worker that ran one line alone, as another one did before it."""
    (shard,) = submit(store, new_job(lines=2))
    for _ in range(4):
        assert store.work.lease(shard, "worker-1", LONG, isolated=True) is not None
        redis_under_test(client).let_pass(LONG)
    lease = store.work.lease(shard, "worker-1", LONG, isolated=True)
    assert lease is not None
    redis_under_test(client).expire(lease)
    return lease


def test_a_worker_that_wakes_up_while_its_line_is_given_up_keeps_it(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    lease = twice_crashed(redis_store, client)
    server = InterruptedServer(client, "fail_line", lambda: redis_store.work.renew([lease], LONG))
    assert RedisJobStore(server).recovery.recoverable_shards("demo", 10) == []
    assert redis_store.work.write(lease, [completed(0), completed(1)]) == 2


def test_a_line_written_while_it_is_given_up_keeps_its_completion(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    lease = twice_crashed(redis_store, client)
    server = InterruptedServer(client, "fail_line", lambda: redis_store.work.write(lease, [completed(0, "in time")]))
    assert RedisJobStore(server).recovery.recoverable_shards("demo", 10) == [lease.shard]
    assert texts(redis_store) == ["in time"]


def test_two_recoveries_at_once_give_a_line_up_once(redis_store: RedisJobStore, client: redis.Redis) -> None:
    lease = twice_crashed(redis_store, client)
    server = InterruptedServer(client, "fail_line", lambda: redis_store.recovery.recoverable_shards("demo", 10))
    assert RedisJobStore(server).recovery.recoverable_shards("demo", 10) == []
    assert (redis_store.jobs.get("job-1").failed, texts(redis_store)) == (1, [None])
    assert redis_store.recovery.recoverable_shards("demo", 10) == [lease.shard]


def test_two_recoveries_at_once_close_a_shard_once(redis_store: RedisJobStore, client: redis.Redis) -> None:
    lease = expired_and_cancelled(redis_store, client)
    server = InterruptedServer(client, "close_unheld", lambda: redis_store.recovery.recoverable_shards("demo", 10))
    assert not ShardCloser(server).close_unheld(lease.shard)
    job = redis_store.jobs.get("job-1")
    assert (job.state, job.failed, job.shards_done) == (JobState.CANCELLED, 2, 1)


def test_a_late_second_retry_undoes_nothing(redis_store: RedisJobStore, client: redis.Redis) -> None:
    """While it reads, another client's retry is run to its end."""
    (shard,) = submit(redis_store, new_job(lines=2))
    run(redis_store, shard, [failed(0), failed(1)])

    def retried_and_run() -> None:
        redis_store.control.retry("job-1")
        run(redis_store, shard, [completed(0, "second run"), failed(1)])

    late = RedisJobStore(InterruptedServer(client, "reopen_failed", retried_and_run))
    assert late.control.retry("job-1") == []
    assert texts(redis_store) == ["second run", None]
    job = redis_store.jobs.get("job-1")
    assert (job.completed, job.failed) == (1, 1)


def test_a_late_closing_undoes_nothing(redis_store: RedisJobStore, client: redis.Redis) -> None:
    """While it reads, the shard is closed, retried, run with another result, lost and cancelled again."""
    (shard,) = submit(redis_store, new_job(lines=2))
    lease = leased(redis_store, shard)
    redis_store.work.write(lease, [failed(0)])
    redis_store.control.request_cancel("job-1")
    redis_under_test(client).let_pass(LONG)

    def a_whole_life() -> None:
        redis_store.control.request_cancel("job-1")
        redis_store.control.retry("job-1")
        redis_store.work.write(leased(redis_store, shard), [completed(0, "second run")])
        redis_under_test(client).let_pass(LONG)
        client.hset(JobKeys("job-1").meta, "cancel_requested", "1")  # as far as `request_cancel` gets before a crash

    assert ShardCloser(InterruptedServer(client, "close_unheld", a_whole_life)).close_unheld(shard)
    assert texts(redis_store) == ["second run", None]
    job = redis_store.jobs.get("job-1")
    assert (job.completed, job.failed) == (1, 1)


def test_a_late_closing_leaves_a_retried_job_alone(redis_store: RedisJobStore, client: redis.Redis) -> None:
    """While it reads, the job is cancelled to its end and retried; its shard waits, as it was read."""
    lease = expired_and_cancelled(redis_store, client)

    def cancelled_and_retried() -> None:
        redis_store.control.request_cancel("job-1")
        assert redis_store.control.retry("job-1") == [lease.shard]

    server = InterruptedServer(client, "close_unheld", cancelled_and_retried)
    assert not ShardCloser(server).close_unheld(lease.shard)
    job = redis_store.jobs.get("job-1")
    assert (job.state, job.failed, job.shards_done) == (JobState.QUEUED, 0, 0)
    assert redis_store.recovery.recoverable_shards("demo", 10) == [lease.shard]


def test_a_job_listed_while_it_is_created_stays_in_the_lists(redis_store: RedisJobStore, client: redis.Redis) -> None:
    """The reader finds an entry without a job, and removes it."""

    def read_lists() -> None:
        assert redis_store.jobs.newest() == []
        assert redis_store.recovery.recoverable_shards("demo", 10) == []

    server = InterruptedServer(client, "create_job", read_lists)
    RedisJobStore(server).submissions.create(new_job(lines=2))
    assert [job.id for job in redis_store.jobs.newest()] == ["job-1"]
    redis_store.submissions.add_shard(ShardRef("job-1", 0), prompts_of(new_job(lines=2), 0))
    redis_store.submissions.open("job-1")
    assert redis_store.recovery.recoverable_shards("demo", 10) == [ShardRef("job-1", 0)]


def test_a_job_created_while_a_reader_removes_its_entry_stays_in_the_lists(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    """The reader found the entry without a job, and removes it when the submission has ended."""
    client.zadd(keys.JOBS, {"job-1": 0})
    server = InterruptedServer(client, "ZREM", lambda: submit(redis_store, new_job(lines=2)))
    assert RedisJobStore(server).jobs.newest() == []
    assert [job.id for job in redis_store.jobs.newest()] == ["job-1"]


def test_a_deleted_jobs_entry_is_removed_for_good(redis_store: RedisJobStore, client: redis.Redis) -> None:
    submit(redis_store, new_job(lines=2))
    redis_store.control.request_cancel("job-1")
    redis_store.control.delete("job-1")
    assert client.zrange(keys.JOBS, 0, -1) == []
    client.zadd(keys.JOBS, {"job-1": 0})  # as a crash in the middle of a submission leaves it
    assert redis_store.jobs.newest() == []
    assert client.zrange(keys.JOBS, 0, -1) == []


def test_a_job_retried_during_a_recovery_stays_listed(redis_store: RedisJobStore, client: redis.Redis) -> None:
    """The recovery finds an ended job among the unfinished ones, and removes it."""
    (shard,) = submit(redis_store, new_job(lines=2))
    run(redis_store, shard, [failed(0), completed(1)])
    server = InterruptedServer(client, "reopen_failed", lambda: redis_store.recovery.recoverable_shards("demo", 10))
    assert RedisJobStore(server).control.retry("job-1") == [shard]
    assert redis_store.recovery.recoverable_shards("demo", 10) == [shard]


def run(store: RedisJobStore, shard: ShardRef, lines: list[Completion]) -> None:
    """A worker that gets these results."""
    lease = leased(store, shard)
    store.work.write(lease, lines)
    store.work.finish_shard(lease, shard_stats())
