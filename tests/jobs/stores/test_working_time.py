"""`duration_seconds` is the time in which a worker held a lease; `wall_seconds` stands beside it."""

from __future__ import annotations

import pytest
import redis

from jobs.keys import JobKeys
from jobs.records.job import Lease, ShardRef
from jobs.stats.stats import JobStats
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0
WORK = 0.02  # seconds
GAP = 0.3  # seconds in which nothing runs
ROUNDING = 1e-5  # a float of seconds since 1970 is exact to less than that


def leased(store: JobStore, shard: ShardRef, worker_id: str = "worker-1", ttl_seconds: float = LONG) -> Lease:
    lease = store.work.lease(shard, worker_id, ttl_seconds)
    assert lease is not None
    return lease


def times(stats: JobStats) -> tuple[float, float]:
    assert stats.duration_seconds is not None and stats.wall_seconds is not None
    return stats.duration_seconds, stats.wall_seconds


def test_without_a_pause_the_duration_is_the_wall_time(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    under_test.let_pass(WORK)
    store.work.renew([lease], LONG)
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(0)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration == pytest.approx(wall, abs=ROUNDING)
    assert wall >= 2 * WORK - ROUNDING


def test_time_in_which_nobody_holds_a_shard_is_in_no_rate(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(0, tokens=5)])
    under_test.let_pass(WORK)
    store.work.release(lease)
    under_test.let_pass(GAP)
    lease = leased(store, shard, "worker-2")
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(1, tokens=6)])
    stats = store.jobs.stats("job-1")
    duration, wall = times(stats)
    assert duration >= 3 * WORK - ROUNDING
    assert wall - duration >= GAP - ROUNDING
    assert stats.output_throughput == pytest.approx(11 / duration)
    assert stats.request_throughput == pytest.approx(2 / duration)


def test_a_killed_workers_lease_counts_up_to_its_expiry(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    leased(store, shard, ttl_seconds=WORK)
    under_test.let_pass(WORK + GAP)
    assert store.recovery.recoverable_shards("demo", 10) == [shard]
    under_test.let_pass(GAP)
    store.work.write(leased(store, shard, "worker-2"), [completed(0)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration >= WORK - ROUNDING
    assert wall - duration >= 2 * GAP - ROUNDING


def test_a_lease_that_is_taken_over_at_once_counts_up_to_its_expiry(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    leased(store, shard, ttl_seconds=WORK)
    under_test.let_pass(WORK + GAP)
    store.work.write(leased(store, shard, "worker-2"), [completed(0)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration >= WORK - ROUNDING
    assert wall - duration >= GAP - ROUNDING


def test_a_lease_that_was_renewed_too_late_counts_up_to_its_expiry_and_from_its_renewal(
    under_test: StoreUnderTest,
) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard, ttl_seconds=WORK)
    under_test.let_pass(WORK + GAP)
    store.work.renew([lease], LONG)
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(0)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration >= 2 * WORK - ROUNDING
    assert wall - duration >= GAP - ROUNDING


def test_shards_that_are_held_together_count_once(under_test: StoreUnderTest) -> None:
    store = under_test.store
    leases = [leased(store, shard, f"worker-{shard.index}") for shard in submit(store, new_job(lines=6))]
    under_test.let_pass(WORK)
    store.work.renew(leases, LONG)
    for lease in leases:
        store.work.write(lease, [completed(prompt.index) for prompt in store.work.pending(lease)])
        store.work.finish_shard(lease, shard_stats())
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration == pytest.approx(wall, abs=ROUNDING)


def test_while_one_of_two_workers_goes_on_the_loss_of_the_other_stops_no_clock(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit(store, new_job(lines=4))
    leased(store, first, ttl_seconds=WORK)
    alive = leased(store, second, "worker-2")
    under_test.let_pass(WORK + GAP)
    assert store.recovery.recoverable_shards("demo", 10) == [first]
    under_test.let_pass(WORK)
    store.work.write(alive, [completed(2)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration == pytest.approx(wall, abs=ROUNDING)


def test_the_time_after_the_last_line_counts_only_when_another_line_comes(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(0)])
    before = times(store.jobs.stats("job-1"))
    under_test.let_pass(WORK)
    store.work.renew([lease], LONG)
    assert times(store.jobs.stats("job-1")) == pytest.approx(before, abs=ROUNDING)
    store.work.write(lease, [completed(1)])
    assert times(store.jobs.stats("job-1"))[0] >= before[0] + WORK - ROUNDING


def test_the_end_of_a_shard_counts_if_another_shard_follows(under_test: StoreUnderTest) -> None:
    store = under_test.store
    first, second = submit(store, new_job(lines=4))
    lease = leased(store, first)
    store.work.write(lease, [completed(0), completed(1)])
    under_test.let_pass(WORK)
    store.work.finish_shard(lease, shard_stats())
    under_test.let_pass(GAP)
    store.work.write(leased(store, second), [completed(2)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration >= WORK - ROUNDING
    assert wall - duration >= GAP - ROUNDING


def test_the_time_between_an_end_and_its_retry_is_wall_time_alone(under_test: StoreUnderTest) -> None:
    store = under_test.store
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.work.write(lease, [completed(0), failed(1)])
    store.work.finish_shard(lease, shard_stats())
    under_test.let_pass(GAP)
    store.control.retry("job-1")
    lease = leased(store, shard)
    under_test.let_pass(WORK)
    store.work.write(lease, [completed(1)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert duration >= WORK - ROUNDING
    assert wall - duration >= GAP - ROUNDING


def as_an_older_version_left_it(client: redis.Redis) -> None:
    """A job that took 1,000 s, and 400 s of them before it was retried."""
    meta = JobKeys("job-1").meta
    client.hdel(meta, "duration_ms", "busy_ms", "busy_at_ms")
    client.hset(meta, mapping={"first_step_at_ms": 1_000_000, "last_line_at_ms": 2_000_000, "idle_ms": 400_000})


def test_a_job_of_an_older_version_keeps_its_duration(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    (shard,) = submit(store, new_job(lines=2))
    store.work.write(leased(store, shard), [completed(0)])
    as_an_older_version_left_it(client)
    assert times(store.jobs.stats("job-1")) == (600.0, 1000.0)


def test_a_job_that_an_older_version_began_goes_on_counting(client: redis.Redis) -> None:
    store = RedisJobStore(RedisServer(client))
    (shard,) = submit(store, new_job(lines=2))
    lease = leased(store, shard)
    store.work.write(lease, [completed(0)])
    as_an_older_version_left_it(client)
    store.work.renew([lease], LONG)
    assert times(store.jobs.stats("job-1")) == (600.0, 1000.0)
    store.work.write(lease, [completed(1)])
    duration, wall = times(store.jobs.stats("job-1"))
    assert 600.0 <= duration < 600.0 + LONG < wall
