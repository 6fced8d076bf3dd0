"""What lies in Redis: nothing after a deletion, nothing across a job's hash tag, and what a crash may leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs import keys
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.records.job import JobState, Lease, LeaseStatus, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stores.connect import connect
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.index import JobIndex
from jobs.stores.redis.reopening import Reopening
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit, worker_report
from testing.processes.valkey import ValkeyProcess, free_port, running_valkey
from tests.jobs.conftest import note_commands

LONG = 60.0


@pytest.fixture
def redis_store(client: redis.Redis) -> RedisJobStore:
    """The store on the emptied server."""
    return RedisJobStore(RedisServer(client))


def names_in(client: redis.Redis) -> set[str]:
    """But for the number of the store's format, which stays, and notifications, which expire."""
    return {key.decode() for key in client.scan_iter()} - {keys.FORMAT, keys.notification("demo")}


def leased(store: RedisJobStore, shards: list[ShardRef]) -> list[Lease]:
    leases = [store.work.lease(shard, "worker-1", LONG) for shard in shards]
    return [lease for lease in leases if lease is not None]


def hold_twice(store: RedisJobStore, shard: ShardRef) -> None:
    """Give the last shard that waits a holder, and one of those that are held a backup for a while."""
    holder = store.work.lease(shard, "worker-1", LONG)
    assert holder is not None
    while (second := store.work.try_backup("demo", "worker-2", LONG, 0.0)) is None:
        pass  # until it has been held for long enough
    store.work.renew([second], LONG)
    store.work.release(second)
    store.work.release(holder)


def live_through_everything(store: RedisJobStore, job_id: str) -> None:
    """A job that uses every key and every script on its way."""
    submit(store, new_job(job_id, lines=8))
    store.submissions.remember_run(f"fingerprint of {job_id}", job_id)
    store.fleet.add_timeline(job_id, TimelineSample(1.0, "worker-1", 1.0, 1, 0.5))
    for shard in store.recovery.recoverable_shards("demo", 10):
        lease = store.work.lease(shard, "worker-1", LONG)
        assert lease is not None
        store.work.renew([lease], LONG)
        first = shard.index * 2
        store.work.write(lease, [completed(first), failed(first + 1)])
        if shard.index == 0:
            store.work.release(lease)
        elif shard.index < 3:
            store.work.finish_shard(lease, shard_stats())
        else:
            hold_twice(store, ShardRef(job_id, 0))
            store.control.request_cancel(job_id)
            store.work.finish_shard(lease, shard_stats())
    assert store.jobs.get(job_id).state is JobState.CANCELLED
    assert len(store.control.retry(job_id)) == 4
    spec = store.jobs.get(job_id).spec
    store.submissions.extend(spec, [[Prompt(index=spec.num_lines, id="more", text="More?")]])
    store.control.pause(job_id)
    store.control.resume(job_id)
    lease = store.work.lease(ShardRef(job_id, 1), "worker-1", 0.001)
    assert lease is not None
    store.work.write(lease, [completed(3)])
    assert len(list(store.jobs.results(job_id))) == 5
    store.jobs.stats(job_id)
    store.jobs.newest()


def test_deleting_a_job_frees_every_key_of_it(redis_store: RedisJobStore, client: redis.Redis) -> None:
    live_through_everything(redis_store, "job-1")
    assert sum("{job-1}" in name for name in names_in(client)) > 10
    store = redis_store
    while not store.control.request_cancel("job-1").state.ended:
        pass  # until the short lease has run out
    store.control.delete("job-1")
    assert names_in(client) == set()


def test_deleting_a_submission_that_broke_off_frees_every_key_of_it(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    redis_store.submissions.create(new_job())
    redis_store.submissions.add_shard(ShardRef("job-1", 1), prompts_of(new_job(), 1))
    redis_store.control.delete("job-1")
    assert names_in(client) == set()


def test_deleting_a_job_leaves_the_others_alone(redis_store: RedisJobStore, client: redis.Redis) -> None:
    submit(redis_store, new_job("job-1"))
    before = names_in(client)
    submit(redis_store, new_job("job-2"))
    redis_store.control.request_cancel("job-2")
    redis_store.control.delete("job-2")
    assert names_in(client) == before


def test_every_key_of_a_job_carries_its_hash_tag(redis_store: RedisJobStore, client: redis.Redis) -> None:
    live_through_everything(redis_store, "job-1")
    redis_store.fleet.report_worker(worker_report(), LONG)
    indexes = {keys.JOBS, keys.RUNS, keys.WORKERS, keys.unfinished("demo"), keys.worker("worker-1")}
    for name in names_in(client) - indexes:
        assert name.startswith("qwen-batch:{job-1}:")


def test_every_script_runs_on_a_cluster_node(tmp_path: Path) -> None:
    """A node in cluster mode refuses a script that touches a key it was not given, or keys of two hash slots."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with running_valkey(tmp_path, options=options) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while client.cluster("info")["cluster_state"] != "ok":
            pass
        store = RedisJobStore(RedisServer(client))
        for job_id in ("job-1", "job-2"):
            live_through_everything(store, job_id)
            while not store.control.request_cancel(job_id).state.ended:
                pass
            store.control.delete(job_id)
        assert names_in(client) == set()


def test_scripts_are_loaded_again_when_the_server_has_forgotten_them(
    redis_store: RedisJobStore, client: redis.Redis
) -> None:
    submit(redis_store, new_job(lines=2))
    client.script_flush()
    assert redis_store.work.lease(ShardRef("job-1", 0), "worker-1", LONG) is not None
    client.script_flush()
    shards = submit(redis_store, new_job("job-2"))
    leases = leased(redis_store, shards)
    client.script_flush()
    assert redis_store.work.renew(leases, LONG) == [LeaseStatus.HELD] * len(shards)


def test_leases_are_renewed_in_one_round_trip_however_many_they_are(
    redis_store: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = leased(redis_store, submit(redis_store, new_job(lines=40)))
    redis_store.work.renew(leases, LONG)  # the server has the script from now on
    sent = note_commands(monkeypatch)
    assert redis_store.work.renew(leases, LONG) == [LeaseStatus.HELD] * 20
    assert len(sent) == 1


def test_the_store_runs_on_debians_redis(tmp_path: Path, redis_server_binary: Path) -> None:
    with running_valkey(tmp_path, binary=redis_server_binary) as server:
        live_through_everything(connect(server.url), "job-1")


# --- what crashes leave behind ---------------------------------------------------------------------------------


@pytest.fixture
def restored(valkey: ValkeyProcess, redis_store: RedisJobStore) -> Iterator[RedisJobStore]:
    """A second client, as another process would see the server after the first one crashed."""
    with valkey.client() as client:
        yield RedisJobStore(RedisServer(client))


def test_a_job_that_was_listed_but_never_stored_disappears_from_the_lists(
    client: redis.Redis, restored: RedisJobStore
) -> None:
    client.zadd(keys.JOBS, {"job-1": 1.0})
    client.zadd(keys.unfinished("demo"), {"job-1": 1.0})
    assert restored.jobs.newest() == []
    assert restored.recovery.recoverable_shards("demo", 10) == []
    assert names_in(client) == set()


def break_off_deletion(client: redis.Redis, store: RedisJobStore) -> None:
    """Make a job, and begin to delete it."""
    submit(store, new_job())
    store.control.request_cancel("job-1")
    client.hset(keys.JobKeys("job-1").meta, "state", "deleting")


def test_a_deletion_that_broke_off_is_finished_by_the_next_listing(
    client: redis.Redis, redis_store: RedisJobStore, restored: RedisJobStore
) -> None:
    break_off_deletion(client, redis_store)
    client.delete(keys.JobKeys("job-1").results(0))
    with pytest.raises(JobNotFound):
        restored.jobs.get("job-1")
    with pytest.raises(JobNotFound):
        restored.control.retry("job-1")
    assert restored.jobs.newest() == []
    assert names_in(client) == set()


def test_a_deletion_that_broke_off_can_be_repeated(
    client: redis.Redis, redis_store: RedisJobStore, restored: RedisJobStore
) -> None:
    break_off_deletion(client, redis_store)
    restored.control.delete("job-1")
    assert names_in(client) == set()


def test_an_ended_job_leaves_the_list_of_unfinished_ones_when_that_is_read(
    client: redis.Redis, redis_store: RedisJobStore, restored: RedisJobStore
) -> None:
    (shard,) = submit(redis_store, new_job(lines=2))
    lease = redis_store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    redis_store.work.write(lease, [completed(0), completed(1)])
    redis_store.work.finish_shard(lease, shard_stats())
    assert restored.recovery.recoverable_shards("demo", 10) == []
    assert client.zcard(keys.unfinished("demo")) == 0


def test_a_cancellation_that_broke_off_is_finished_by_the_recovery(
    client: redis.Redis, redis_store: RedisJobStore, restored: RedisJobStore
) -> None:
    shards = submit(redis_store, new_job())
    client.hset(keys.JobKeys("job-1").meta, "cancel_requested", "1")
    assert restored.work.lease(shards[0], "worker-1", LONG) is None
    assert restored.recovery.recoverable_shards("demo", 10) == []
    job = restored.jobs.get("job-1")
    assert (job.state, job.failed) == (JobState.CANCELLED, 5)
    assert client.zcard(keys.unfinished("demo")) == 0


def test_a_retry_that_broke_off_is_completed_by_the_next_one(
    redis_store: RedisJobStore, restored: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = submit(redis_store, new_job())
    redis_store.control.request_cancel("job-1")
    open_failed = Reopening._open_failed

    def cut_off_at_the_last(self: Reopening, shard: ShardRef) -> bool:
        if shard == shards[2]:
            raise StoreUnavailable("It is gone.")
        return open_failed(self, shard)

    monkeypatch.setattr(Reopening, "_open_failed", cut_off_at_the_last)
    with pytest.raises(StoreUnavailable):
        redis_store.control.retry("job-1")
    monkeypatch.undo()
    assert restored.jobs.get("job-1").failed == 1
    for shard in shards[:2]:
        lease = restored.work.lease(shard, "worker-1", LONG)
        assert lease is not None
        restored.work.write(lease, [completed(prompt.index) for prompt in restored.work.pending(lease)])
        restored.work.finish_shard(lease, shard_stats())
    assert restored.jobs.get("job-1").state is JobState.COMPLETED
    assert restored.control.retry("job-1") == shards[2:]


def test_the_end_of_a_job_never_hides_its_retry_from_recovery(client: redis.Redis, redis_store: RedisJobStore) -> None:
    """A recovery saw the job ended; before it takes it from the list, another client's retry opens it again."""
    submit(redis_store, new_job())
    redis_store.control.request_cancel("job-1")
    redis_store.control.retry("job-1")
    JobIndex(RedisServer(client)).drop_ended("demo", "job-1")
    assert len(redis_store.recovery.recoverable_shards("demo", 10)) == 3


def test_prompts_and_results_are_compressed(redis_store: RedisJobStore, client: redis.Redis) -> None:
    spec = new_job(lines=200, shard_size=200)
    (shard,) = submit(redis_store, spec)
    lease = redis_store.work.lease(shard, "worker-1", LONG)
    assert lease is not None
    redis_store.work.write(lease, [completed(line) for line in range(200)])
    redis_store.work.finish_shard(lease, shard_stats())
    names = keys.JobKeys(spec.id)
    assert client.exists(names.running(0)) == 0
    assert client.strlen(names.results(0)) < 200 * 20
    assert client.strlen(names.input(0)) < 200 * 20
