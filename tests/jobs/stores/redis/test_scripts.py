"""Scripts that look again at what their caller has seen, because it may have changed since."""

from __future__ import annotations

import redis

from jobs import keys
from jobs.keys import JobKeys
from jobs.records.job import JobState, Lease, ShardRef
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, new_job, prompts_of, shard_stats, submit

LONG = 60.0
META, SHARD, RUNNING = JobKeys("job-1").meta, JobKeys("job-1").shard(0), JobKeys("job-1").running(0)
OPEN, LEASES = JobKeys("job-1").open, JobKeys("job-1").leases


def leased(client: redis.Redis) -> tuple[RedisJobStore, Lease]:
    """A job of one shard that a live worker holds."""
    store = RedisJobStore(RedisServer(client))
    (shard,) = submit(store, new_job(lines=2))
    lease = store.work.lease(shard, "worker", LONG)
    assert lease is not None
    return store, lease


def ended(client: redis.Redis) -> RedisJobStore:
    store, lease = leased(client)
    store.work.write(lease, [completed(0), completed(1)])
    assert store.work.finish_shard(lease, shard_stats())
    return store


def test_a_job_that_has_ended_meanwhile_does_not_expire(client: redis.Redis) -> None:
    store = ended(client)
    client.hset(META, "deadline_ms", 1)
    assert RedisServer(client).script("expire_job", [META, OPEN, LEASES]) == 0
    assert store.jobs.get("job-1").state is JobState.COMPLETED


def test_a_job_whose_deadline_was_moved_meanwhile_does_not_expire(client: redis.Redis) -> None:
    store, _ = leased(client)
    client.hset(META, "deadline_ms", 2**52)
    assert RedisServer(client).script("expire_job", [META, OPEN, LEASES]) == 0
    assert not store.jobs.get("job-1").ending


def test_a_turn_of_a_job_that_has_ended_meanwhile_does_not_list_it_again(client: redis.Redis) -> None:
    RedisServer(client).script("mark_served", [keys.unfinished("demo")], "job-1", 0)
    assert client.zcard(keys.unfinished("demo")) == 0


def test_a_line_is_not_lost_while_its_worker_is_alive(client: redis.Redis) -> None:
    store, lease = leased(client)
    names = [META, SHARD, RUNNING, OPEN, LEASES]
    assert RedisServer(client).script("fail_line", names, 0, 0, 0, "{}") == "no"
    assert [prompt.index for prompt in store.work.pending(lease)] == [0, 1]


def test_the_end_of_a_job_is_not_moved_by_a_late_cancellation(client: redis.Redis) -> None:
    store = ended(client)
    ended_at = store.jobs.get("job-1").ended_at
    assert RedisServer(client).script("request_cancel", [META, OPEN, LEASES]) == "ok"
    job = store.jobs.get("job-1")
    assert (job.state, job.ended_at, job.cancel_requested) == (JobState.COMPLETED, ended_at, False)


def test_a_shard_that_another_worker_has_taken_over_meanwhile_is_not_finished(client: redis.Redis) -> None:
    store, late = leased(client)
    store.work.release(late)
    now = store.work.lease(late.shard, "another", LONG)
    assert now is not None
    store.work.write(now, [completed(0)])
    names = [META, SHARD, RUNNING, JobKeys("job-1").results(0), OPEN, LEASES, JobKeys("job-1").engine]
    told = (0, late.token, 1, b"packed", 0, "worker", "{}", "")
    assert RedisServer(client).script("finish_shard", names, *told) == "lost"
    assert [prompt.index for prompt in store.work.pending(now)] == [1]


def test_a_job_that_is_opened_again_while_it_runs_goes_on_as_it_is(client: redis.Redis) -> None:
    store, lease = leased(client)
    before = store.jobs.get("job-1")
    assert store.submissions.open("job-1") == []
    assert store.jobs.get("job-1") == before
    assert [prompt.index for prompt in store.work.pending(lease)] == [0, 1]


def test_an_id_that_another_client_took_meanwhile_is_not_shared(client: redis.Redis) -> None:
    store, _ = leased(client)
    assert RedisServer(client).script("create_job", [META], b"another spec") == "conflict"
    assert store.jobs.get("job-1").spec == new_job(lines=2)


def test_a_shard_that_is_stored_again_counts_its_known_lines_once(client: redis.Redis) -> None:
    store, spec = RedisJobStore(RedisServer(client)), new_job(lines=2)
    store.submissions.create(spec)
    for _ in range(2):
        store.submissions.add_shard(ShardRef(spec.id, 0), prompts_of(spec, 0), [completed(0)])
    store.submissions.open(spec.id)
    job = store.jobs.get(spec.id)
    assert (job.completed, job.reused, job.total_output_tokens) == (1, 1, 4)


def test_no_line_fails_by_what_was_read_before_its_worker_wrote(client: redis.Redis) -> None:
    store, lease = leased(client)
    store.work.write(lease, [completed(0)])
    client.zadd(LEASES, {"0": 1})
    names = [META, SHARD, RUNNING, OPEN, LEASES]
    assert RedisServer(client).script("fail_line", names, 0, 0, 0, "{}") == "changed"
    assert store.jobs.get("job-1").failed == 0


def test_a_job_that_was_cancelled_meanwhile_does_not_expire(client: redis.Redis) -> None:
    store, _ = leased(client)
    store.control.request_cancel("job-1")
    client.hset(META, "deadline_ms", 1)
    assert RedisServer(client).script("expire_job", [META, OPEN, LEASES]) == 0
    assert store.jobs.get("job-1").cancel_requested
