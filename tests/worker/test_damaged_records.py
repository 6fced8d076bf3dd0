"""What a worker does about records of the store that it cannot read: it goes on, and says so once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs import keys
from jobs.errors import RecordDamaged
from jobs.exit_codes import ExitCode
from jobs.keys import JobKeys
from jobs.records.job import JobState, ShardRef
from jobs.stores.connect import connect
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster
from testing.processes.valkey import ValkeyProcess
from tests.worker.shard_bench import MODEL, ShardBench, prompts
from worker.shards.shard_runner import Outcome
from worker.upkeep.periodic import Periodic
from worker.upkeep.recovery import Recovery
from worker.upkeep.store_link import StoreLink


@pytest.fixture
def client(empty_valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    with empty_valkey.client() as client:
        yield client
        client.flushall()  # no other test meets the damage


@pytest.fixture
def redis_bench(empty_valkey: ValkeyProcess) -> Iterator[ShardBench]:
    """A worker's shard runner over a real server."""
    with ShardBench(connect(empty_valkey.url)) as bench:
        yield bench


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def recover(bench: ShardBench, times: int) -> None:
    """Search that many times, as the thread of a recovery does."""
    link = StoreLink(threading.Event())
    recovery = Recovery(store=bench.store, hints=bench.hints, model=MODEL, interval_seconds=1.0, link=link)
    for _ in range(times):
        recovery._recover_safely()


def bad_id(client: redis.Redis) -> str:
    client.zadd(keys.unfinished(MODEL), {b"\xff\xfe": 0.0})
    return keys.unfinished(MODEL)


def bad_meta(client: redis.Redis) -> str:
    meta = JobKeys("bad").meta
    client.hset(meta, mapping={"spec": b"{bad", "state": "queued"})
    client.zadd(keys.unfinished(MODEL), {"bad": 0.0})
    return meta


def meta_of_another_type(client: redis.Redis) -> str:
    meta = JobKeys("bad").meta
    client.rpush(meta, "x")
    client.zadd(keys.unfinished(MODEL), {"bad": 0.0})
    return meta


def bad_shard_number(bench: ShardBench, client: redis.Redis) -> str:
    bench.add_job(prompts(2), "bad")
    client.zadd(JobKeys("bad").open, {b"three": -1.0})
    return JobKeys("bad").open


def bad_deadline(bench: ShardBench, client: redis.Redis) -> str:
    bench.add_job(prompts(2), "bad")
    client.hset(JobKeys("bad").meta, "deadline_ms", "soon")
    return JobKeys("bad").meta


@pytest.mark.parametrize("damage", [bad_id, bad_meta, meta_of_another_type, bad_shard_number, bad_deadline])
def test_a_damaged_job_holds_no_other_job_up_and_is_logged_once(
    redis_bench: ShardBench, client: redis.Redis, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    assert callable(damage)
    on_bench = damage in (bad_shard_number, bad_deadline)
    record = damage(redis_bench, client) if on_bench else damage(client)
    (shard,) = redis_bench.add_job(prompts(3), "good")
    recover(redis_bench, times=3)
    assert shard in redis_bench.hints.sent
    redis_bench.engine.finish_from_now_on()
    assert redis_bench.runner.run(shard) is Outcome.FINISHED  # it may be the damaged job's turn first
    redis_bench.runner.run(shard)
    assert redis_bench.job("good").state is JobState.COMPLETED
    said = warnings_of(caplog)
    assert [line for line in said if "Traceback" in line] == []
    assert len([line for line in said if record in line]) == 1
    assert redis_bench.real_store.damage.count == 1


def test_a_shard_without_input_is_given_up_and_the_job_ends_as_failed(
    redis_bench: ShardBench, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    shards = redis_bench.add_job(prompts(6), shard_size=2)
    client.delete(JobKeys("job").input(1))
    redis_bench.engine.finish_from_now_on()
    outcomes = [redis_bench.runner.run(shard) for shard in shards]
    assert sorted(outcomes) == [Outcome.DAMAGED, Outcome.FINISHED, Outcome.FINISHED]
    job = redis_bench.job()
    assert (job.state, job.completed, job.shards_done) == (JobState.FAILED, 4, 3)
    assert job.error is not None and JobKeys("job").input(1) in job.error
    assert [line.index for line in redis_bench.results()] == [0, 1, 4, 5]
    assert len([line for line in warnings_of(caplog) if JobKeys("job").input(1) in line]) == 1


def test_a_given_up_shard_is_run_again_once_its_input_is_back(redis_bench: ShardBench, client: redis.Redis) -> None:
    (shard,) = redis_bench.add_job(prompts(2))
    key = JobKeys("job").input(0)
    whole = client.get(key)
    assert isinstance(whole, bytes)
    client.set(key, whole[:-3])
    redis_bench.engine.finish_from_now_on()
    assert redis_bench.runner.run(shard) is Outcome.DAMAGED
    client.set(key, whole)
    assert redis_bench.real_store.control.retry("job") == [shard]
    assert redis_bench.job().error is None
    assert redis_bench.runner.run(shard) is Outcome.FINISHED
    assert redis_bench.job().state is JobState.COMPLETED


def test_a_damaged_job_costs_no_other_lease(redis_bench: ShardBench, client: redis.Redis) -> None:
    bad, good = redis_bench.add_job(prompts(2), "bad"), redis_bench.add_job(prompts(2), "good")
    store = redis_bench.real_store
    leases = [store.work.lease(shard, "worker", 60.0) for shard in (*bad, *good)]
    client.delete(JobKeys("bad").leases)
    client.set(JobKeys("bad").leases, "x")
    assert store.work.renew([lease for lease in leases if lease is not None], 60.0) == ["lost", "held"]


def test_a_cancelled_job_whose_input_is_gone_still_ends(redis_bench: ShardBench, client: redis.Redis) -> None:
    redis_bench.add_job(prompts(4), shard_size=2)
    client.delete(JobKeys("job").input(1))
    job = redis_bench.real_store.control.request_cancel("job")
    assert (job.state, job.failed) == (JobState.CANCELLED, 2)


def test_giving_up_needs_the_lease(bench: ShardBench) -> None:
    first, second = bench.add_job(prompts(4), shard_size=2)
    lease = bench.real_store.work.lease(first, "worker", 60.0)
    assert lease is not None
    assert bench.real_store.work.give_up(lease, "It is damaged.") is False
    assert bench.real_store.work.lease(first, "worker", 60.0) is None
    other = bench.real_store.work.lease(second, "worker", 60.0)
    assert other is not None
    assert bench.real_store.work.give_up(other, "Another reason.") is True
    job = bench.job()
    assert (job.state, job.error, job.shards_done) == (JobState.FAILED, "It is damaged.", 2)
    assert bench.real_store.control.retry("job") == [ShardRef("job", 0), ShardRef("job", 1)]


def test_the_same_error_of_a_periodic_action_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Semaphore(0)

    def fail() -> None:
        calls.release()
        raise RecordDamaged("qwen-batch:x", "it is a test")

    thread = Periodic("test", fail, 0.001)
    thread.start()
    for _ in range(5):
        assert calls.acquire(timeout=10)
    thread.stop(timeout_seconds=10)
    assert len(warnings_of(caplog)) == 1


def test_a_damaged_list_of_models_is_one_clear_message_and_exit_code_6(
    empty_valkey: ValkeyProcess, client: redis.Redis, tmp_path: Path
) -> None:
    model = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "tiny"), vocab_size=257)
    client.set(keys.MODELS, "damage")
    with Cluster(empty_valkey, "tiny", model, tmp_path).worker() as worker:
        assert worker.exit_code() == ExitCode.STORE_DAMAGED.value == 6, worker.log
        assert f"Error: The store's record {keys.MODELS} cannot be read" in worker.log
        assert "Traceback" not in worker.log
