"""Results of an ended job that are gone: no reader overlooks them, and `retry` runs their lines again."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
import redis

from jobs.errors import ResultsMissing, StoreDamaged
from jobs.files.results.results_file import write_results
from jobs.files.writing.destination import LocalFile
from jobs.keys import JobKeys
from jobs.records.completion import Latency
from jobs.records.job import Job, JobState, ShardRef
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.packing import pack_completions
from jobs.stores.protocol import JobStore
from jobs.stores.redis.connection.server import RedisServer
from jobs.stores.redis.store import RedisJobStore
from testing.jobs.sample_jobs import completed, failed, new_job, prompts_of, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0
Lose = Callable[[int], None]


def run(store: JobStore, failing: frozenset[int] = frozenset(), worker_id: str = "worker-1") -> None:
    """Finish all shards that wait; later lines take longer."""
    for shard in store.recovery.recoverable_shards("demo", 100):
        lease = store.work.lease(shard, worker_id, LONG)
        assert lease is not None
        for prompt in store.work.pending(lease):
            took = 10.0 * (prompt.index + 1)
            latency = Latency(ttft_ms=took, tpot_ms=took / 10, e2el_ms=5 * took)
            line = completed(prompt.index, worker_id, tokens=prompt.index + 1, latency=latency)
            store.work.write(lease, [failed(prompt.index) if prompt.index in failing else line])
        store.work.finish_shard(lease, shard_stats(worker_id))


@pytest.fixture
def lose(under_test: StoreUnderTest, request: pytest.FixtureRequest) -> Lose:
    """Takes the results of a shard of job-1 out of the store."""
    store = under_test.store
    if isinstance(store, MemoryJobStore):
        return lambda index: store.table.get("job-1").shards[index].results.clear()
    client = request.getfixturevalue("client")
    return lambda index: client.delete(JobKeys("job-1").results(index))


def written(store: JobStore, output: Path | BytesIO, partial: bool = False) -> list[int]:
    target = LocalFile(output) if isinstance(output, Path) else output
    write_results(store.jobs.results("job-1"), store.jobs.get("job-1"), target, partial=partial)
    return [completion.index for completion in store.jobs.results("job-1")]


def counts(job: Job) -> tuple[int, int, int, int, int]:
    return job.completed, job.failed, job.total_input_tokens, job.total_output_tokens, job.shards_done


def test_a_missing_shard_is_named_and_no_file_appears(store: JobStore, lose: Lose, tmp_path: Path) -> None:
    submit(store, new_job(lines=7))
    run(store)
    lose(1)
    lose(3)
    with pytest.raises(ResultsMissing, match=r"lacks 3 of 7 results of job job-1: lines 3 to 4, 7\."):
        written(store, tmp_path / "results.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_written_if_that_is_asked_for(store: JobStore, lose: Lose, tmp_path: Path) -> None:
    submit(store, new_job(lines=7))
    run(store)
    lose(1)
    assert written(store, tmp_path / "results.jsonl", partial=True) == [0, 1, 4, 5, 6]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 5


def test_many_gaps_are_a_few_ranges_and_a_count(store: JobStore, lose: Lose) -> None:
    submit(store, new_job(lines=40))
    run(store)
    for index in range(0, 20, 2):
        lose(index)
    with pytest.raises(ResultsMissing, match=r"1 to 2, 5 to 6, 9 to 10, 13 to 14, 17 to 18 and 10 more\."):
        written(store, BytesIO())


def test_a_running_job_may_lack_lines(store: JobStore) -> None:
    submit(store, new_job(lines=4))
    assert written(store, BytesIO()) == []


def test_retry_runs_the_missing_lines_and_no_others(store: JobStore, lose: Lose) -> None:
    submit(store, new_job(lines=7))
    run(store)
    lose(1)
    assert store.control.retry("job-1") == [ShardRef("job-1", 1)]
    job = store.jobs.get("job-1")
    assert (job.state, counts(job)) == (JobState.QUEUED, (5, 0, 15, 1 + 2 + 5 + 6 + 7, 3))
    run(store, worker_id="worker-2")
    assert store.jobs.get("job-1").state is JobState.COMPLETED
    assert written(store, BytesIO()) == list(range(7))
    assert [line.index for line in store.jobs.results("job-1") if line.text == "worker-2"] == [2, 3]


def test_lines_that_are_run_a_second_time_are_counted_once(store: JobStore, lose: Lose) -> None:
    submit(store, new_job(lines=7))
    run(store, failing=frozenset({3}))
    before = store.jobs.get("job-1"), store.jobs.stats("job-1")
    lose(0)
    lose(1)
    store.control.retry("job-1")
    run(store, failing=frozenset({3}))
    after = store.jobs.get("job-1"), store.jobs.stats("job-1")
    assert counts(after[0]) == counts(before[0])
    assert after[1].finish_reasons == before[1].finish_reasons == {"stop": 6}
    assert after[1].error_codes == before[1].error_codes == {"internal_error": 1}
    for name in ("mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms", "p99_e2el_ms"):
        assert getattr(after[1], name) == getattr(before[1], name)


def test_retry_opens_failed_and_missing_lines_together(store: JobStore, lose: Lose) -> None:
    submit(store, new_job(lines=6))
    run(store, failing=frozenset({0, 3}))
    lose(1)
    assert store.control.retry("job-1") == [ShardRef("job-1", 0), ShardRef("job-1", 1)]
    assert counts(store.jobs.get("job-1"))[:2] == (3, 0)
    run(store)
    assert counts(store.jobs.get("job-1"))[:2] == (6, 0)
    assert written(store, BytesIO()) == list(range(6))


def test_reopening_what_is_lost_leaves_failed_lines_alone(store: JobStore, lose: Lose) -> None:
    submit(store, new_job(lines=6))
    run(store, failing=frozenset({0, 5}))
    assert store.control.reopen_lost("job-1") == []
    assert store.jobs.get("job-1").state is JobState.COMPLETED
    lose(1)
    assert store.control.reopen_lost("job-1") == [ShardRef("job-1", 1)]
    run(store)
    assert counts(store.jobs.get("job-1"))[:2] == (4, 2)


def test_reused_lines_that_are_lost_are_run_and_count_as_reused_no_more(store: JobStore, lose: Lose) -> None:
    spec = new_job(lines=6)
    store.submissions.create(spec)
    known = [msgspec.structs.replace(completed(line), latency=None) for line in (0, 4)]
    store.submissions.add_shard(ShardRef("job-1", 0), prompts_of(spec, 0), known[:1])
    store.submissions.add_shard(ShardRef("job-1", 1), prompts_of(spec, 1))
    store.submissions.add_shard(ShardRef("job-1", 2), prompts_of(spec, 2), known[1:])
    store.submissions.open("job-1")
    run(store)
    lose(0)
    store.control.retry("job-1")
    assert store.jobs.get("job-1").reused == 1
    run(store)
    job, stats = store.jobs.get("job-1"), store.jobs.stats("job-1")
    assert (job.completed, job.reused) == (6, 1)
    if stats.duration_seconds:
        assert stats.request_throughput == pytest.approx(5 / stats.duration_seconds)


# --- what can only happen to a server --------------------------------------------------------------------------


@pytest.fixture
def ended(client: redis.Redis) -> RedisJobStore:
    """A store with a completed job of seven lines."""
    store = RedisJobStore(RedisServer(client))
    submit(store, new_job(lines=7))
    run(store)
    return store


def _truncated(client: redis.Redis, keys: JobKeys) -> None:
    value = client.get(keys.results(1))
    assert isinstance(value, bytes)
    client.set(keys.results(1), value[: len(value) // 2])


def _no_compressed_text(client: redis.Redis, keys: JobKeys) -> None:
    client.set(keys.results(1), b"[]")


def _fewer_lines(client: redis.Redis, keys: JobKeys) -> None:
    client.set(keys.results(1), pack_completions({}))


def _the_lines_of_another_shard(client: redis.Redis, keys: JobKeys) -> None:
    value = client.get(keys.results(0))
    assert isinstance(value, bytes)
    client.set(keys.results(1), value)


def _no_completions(client: redis.Redis, keys: JobKeys) -> None:
    client.set(keys.results(1), pack_completions({0: b'{"index": 2}'}))


def _another_type(client: redis.Redis, keys: JobKeys) -> None:
    client.delete(keys.results(1))
    client.rpush(keys.results(1), "x")


DAMAGES = [_truncated, _no_compressed_text, _fewer_lines, _the_lines_of_another_shard, _no_completions, _another_type]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_results_are_missing_and_are_made_again(
    client: redis.Redis, ended: RedisJobStore, damage: Callable[[redis.Redis, JobKeys], None]
) -> None:
    damage(client, JobKeys("job-1"))
    with pytest.raises(ResultsMissing, match=r"lacks 2 of 7 results of job job-1: lines 3 to 4\."):
        written(ended, BytesIO())
    left = BytesIO()
    written(ended, left, partial=True)
    assert len(left.getvalue().splitlines()) == 5  # each line at most once, also if another shard holds its copy
    assert ended.control.retry("job-1") == [ShardRef("job-1", 1)]
    assert counts(ended.jobs.get("job-1"))[:2] == (5, 0)
    run(ended)
    assert written(ended, BytesIO()) == list(range(7))
    assert counts(ended.jobs.get("job-1")) == (7, 0, 21, 28, 4)


@pytest.mark.parametrize("gone", [True, False])
def test_without_its_input_a_lost_shard_cannot_be_run_again_and_retry_says_so(
    client: redis.Redis, ended: RedisJobStore, gone: bool
) -> None:
    keys, before = JobKeys("job-1"), ended.jobs.get("job-1")
    client.delete(keys.results(1), keys.input(1))
    if not gone:
        client.set(keys.input(1), b"damaged")
    with pytest.raises(StoreDamaged, match="lacks results of a shard, and the input of these lines is lost"):
        ended.control.retry("job-1")
    assert ended.jobs.get("job-1") == before


def test_of_two_lost_shards_the_one_with_an_input_is_run_again(client: redis.Redis, ended: RedisJobStore) -> None:
    keys = JobKeys("job-1")
    client.delete(keys.results(1), keys.input(1), keys.results(2))
    assert ended.control.retry("job-1") == [ShardRef("job-1", 2)]
    (sentence,) = ended.damage.unreported()
    assert keys.input(1) in sentence
    run(ended)
    with pytest.raises(ResultsMissing, match="lacks 2 of 7 results"):
        written(ended, BytesIO())


def test_of_two_retries_at_once_the_second_destroys_nothing(client: redis.Redis, ended: RedisJobStore) -> None:
    client.delete(JobKeys("job-1").results(1))
    late = ended.control._reopening
    survey = late._survey(ended.jobs.get("job-1"))
    ended.control.retry("job-1")
    run(ended)
    assert [late._open_lost(lost, 2) for lost in survey.lost] == [False]
    assert written(ended, BytesIO()) == list(range(7))


def test_a_late_retry_takes_no_line_from_a_shard_that_was_opened_and_given_up_since(
    client: redis.Redis, ended: RedisJobStore
) -> None:
    client.delete(JobKeys("job-1").results(1))
    late = ended.control._reopening
    survey = late._survey(ended.jobs.get("job-1"))
    (shard,) = ended.control.retry("job-1")
    lease = ended.work.lease(shard, "worker-2", LONG)
    assert lease is not None
    ended.work.write(lease, [completed(2)])
    ended.work.give_up(lease, "It cannot be run.")
    assert [late._open_lost(lost, 2) for lost in survey.lost] == [False]
    assert [line.index for line in ended.jobs.results("job-1")] == [0, 1, 2, 4, 5, 6]
