"""Results come while the job runs: in the order of the rows, or as the rows finish."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, cast

import pytest
from msgspec import structs

import qwen_batch
from jobs.errors import ResultsMissing, StoreUnavailable
from jobs.records.completion import Completion
from jobs.records.job import Job, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.stores.client_facets import JobReader
from jobs.stores.connect import connect
from jobs.stores.memory.store import MemoryJobStore
from jobs.stores.protocol import JobStore
from qwen_batch.results import Result, ResultReader
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from testing.processes.valkey import ValkeyProcess, running_valkey
from tests.cli.acting_worker import WORKER, run_job

_Found = TypeVar("_Found")
Step = Callable[[], object]


@pytest.fixture
def store() -> JobStore:
    """A store with a job of 40 lines in 20 shards."""
    store = MemoryJobStore(time.time)
    submit(store, new_job(lines=40, shard_size=2))
    return store


def finish(store: JobStore, shard: int) -> Step:
    return lambda: run_job(store, "job-1", shards=shard + 1, first=shard)


def finish_line(store: JobStore, line: int) -> Step:
    """Write one line of a shard that is not finished."""

    def write() -> None:
        lease = store.work.lease(ShardRef("job-1", line // 2), WORKER, ttl_seconds=60)
        assert lease is not None
        store.work.write(lease, [completed(line)])
        store.work.release(lease)

    return write


def reader(store: JobStore, steps: list[Step]) -> tuple[ResultReader, list[int]]:
    """A reader whose every look at the job is followed by the next step. Returns the number of steps so far, too."""
    taken = [0]

    def check(_job: Job) -> None:
        if taken[0] < len(steps):
            steps[taken[0]]()
            taken[0] += 1

    return ResultReader(store.jobs, "job-1", check, poll_seconds=0.001), taken


def lines_of(results: Iterator[Result]) -> list[int]:
    return [int((result.id or "").removeprefix("line-")) for result in results]


def test_results_in_order_wait_for_the_earlier_rows(store: JobStore) -> None:
    order = [1, 0, *range(19, 1, -1)]
    reading, taken = reader(store, [finish(store, shard) for shard in order])
    results = reading.in_order()
    assert next(results).id == "line-0"
    assert taken == [2]
    assert lines_of(results) == list(range(1, 40))


def test_results_come_as_their_rows_finish(store: JobStore) -> None:
    steps = [finish_line(store, 5), finish_line(store, 1), *(finish(store, shard) for shard in range(20))]
    reading, taken = reader(store, steps)
    results = reading.as_they_finish()
    assert next(results).id == "line-5"
    assert taken == [1]
    assert next(results).id == "line-1"
    assert taken == [2]
    assert sorted(lines_of(results)) == sorted(set(range(40)) - {5, 1})


def test_a_row_that_finishes_far_ahead_of_the_others_is_not_lost(store: JobStore) -> None:
    reading, _ = reader(store, [finish(store, shard) for shard in (19, *range(19))])
    assert sorted(lines_of(reading.as_they_finish())) == list(range(40))


@pytest.mark.parametrize("order", ["in_order", "as_they_finish"])
def test_a_cancelled_job_gives_an_error_for_each_row_that_did_not_run(store: JobStore, order: str) -> None:
    reading, _ = reader(store, [finish(store, 0), lambda: store.control.request_cancel("job-1")])
    results = list(getattr(reading, order)())
    assert sorted(result.id for result in results) == sorted(f"line-{line}" for line in range(40))
    done = [result for result in results if result.error is None]
    assert [(result.id, result.completion) for result in done] == [
        ("line-0", "answer to line-0"),
        ("line-1", "answer to line-1"),
    ]
    assert {result.error.code for result in results if result.error} == {"cancelled"}


@pytest.mark.parametrize("order", ["in_order", "as_they_finish"])
def test_results_that_the_store_has_lost_are_named_at_the_end(store: JobStore, order: str) -> None:
    run_job(store, "job-1")
    kept = store.jobs.lines

    class Lossy:
        """A store that has lost two results."""

        get = store.jobs.get

        def lines(self, shard: ShardRef) -> object:
            return [(prompt, None if prompt.index in (4, 9) else found) for prompt, found in kept(shard)]

    results = getattr(ResultReader(Lossy(), "job-1", lambda _: None), order)()  # type: ignore[arg-type]
    seen: list[str | None] = []
    with pytest.raises(ResultsMissing, match="lacks 2 of 40 results of job job-1: lines 5, 10"):
        seen.extend(result.id for result in results)
    assert len(seen) == 38


def test_a_result_has_the_fields_of_a_line_of_the_results(store: JobStore) -> None:
    run_job(store, "job-1", fail=frozenset({"line-1"}))
    good, bad = list(ResultReader(store.jobs, "job-1", lambda _: None).in_order())[:2]
    assert (good.completion, good.finish_reason, good.usage and good.usage.completion_tokens, good.error) == (
        "answer to line-0",
        "stop",
        1,
        None,
    )
    assert (bad.completion, bad.error and bad.error.code, bad.input) == (None, "prompt_too_long", {})


class RestartedServer:
    """A job reader whose server is down until the first call has failed."""

    def __init__(self, store: JobStore, server: ValkeyProcess) -> None:
        self._jobs, self._server = store.jobs, server
        self.failures = 0

    def get(self, job_id: str) -> Job:
        return self._or_restart(lambda: self._jobs.get(job_id))

    def lines(self, ref: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        return self._or_restart(lambda: self._jobs.lines(ref))

    def _or_restart(self, read: Callable[[], _Found]) -> _Found:
        try:
            return read()
        except StoreUnavailable:
            self.failures += 1
            if self.failures == 1:
                self._server.start()
            raise


@pytest.mark.parametrize("order", ["in_order", "as_they_finish"])
def test_the_iterators_wait_for_a_server_that_restarts(tmp_path: Path, order: str) -> None:
    with running_valkey(tmp_path, appendonly=True) as server:
        store = connect(server.url)
        submit(store, new_job(lines=4, shard_size=2))
        run_job(store, "job-1", shards=1)
        jobs = RestartedServer(store, server)
        down = [lambda: None, server.stop]  # the second look comes after the first results

        def check(_job: Job) -> None:
            if down:
                down.pop(0)()
            elif jobs.failures and not store.jobs.get("job-1").state.ended:
                run_job(store, "job-1", first=1)

        results = getattr(ResultReader(cast("JobReader", jobs), "job-1", check, poll_seconds=0.001), order)()
        assert sorted(lines_of(results)) == [0, 1, 2, 3]
        assert jobs.failures > 0


def test_a_server_that_stays_away_ends_the_iterator(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as server:
        store = connect(server.url)
        submit(store, new_job(lines=4, shard_size=2))
        run_job(store, "job-1", shards=1)
        results = ResultReader(store.jobs, "job-1", lambda _: None, 0.001, patience_seconds=0).in_order()
        assert next(results).id == "line-0"
        server.stop()
        with pytest.raises(StoreUnavailable):
            lines_of(results)


@pytest.fixture
def thinking_job() -> qwen_batch.Job:
    """An ended job of two rows. The tokens of the second one did not suffice for its thought."""
    store = MemoryJobStore(time.time)
    submit(store, new_job(lines=2, shard_size=2))
    lease = store.work.lease(ShardRef("job-1", 0), WORKER, ttl_seconds=60)
    assert lease is not None
    cut = structs.replace(completed(1), text="", ended_in_thought=True, finish_reason=FinishReason.LENGTH)
    store.work.write(lease, [completed(0), cut])
    store.work.finish_shard(lease, shard_stats())
    return qwen_batch.Job(store, "job-1", lambda _: None)


def test_a_warning_and_a_field_say_that_a_completion_ended_inside_its_thought(thinking_job: qwen_batch.Job) -> None:
    with pytest.warns(
        UserWarning, match="1 line has no answer: .* thinking=False .* `thinking_budget` N ends"
    ) as found:
        results = list(thinking_job.results())
    assert [result.ended_in_thought for result in results] == [False, True]
    assert [warning.filename for warning in found] == [__file__]


def test_a_warning_and_a_field_say_that_structured_output_was_cut_off() -> None:
    store = MemoryJobStore(time.time)
    submit(store, new_job(lines=2, shard_size=2))
    lease = store.work.lease(ShardRef("job-1", 0), WORKER, ttl_seconds=60)
    assert lease is not None
    cut = structs.replace(completed(1), cut_structured_outputs=1, finish_reason=FinishReason.LENGTH)
    store.work.write(lease, [completed(0), cut])
    store.work.finish_shard(lease, shard_stats())
    with pytest.warns(UserWarning, match="1 line has incomplete structured output: .* `max_tokens` N allows"):
        results = list(qwen_batch.Job(store, "job-1", lambda _: None).results())
    assert [result.cut_structured_output for result in results] == [False, True]


@pytest.mark.parametrize("read", ["write", "to_arrow", "to_pandas"])
def test_every_way_to_all_results_warns_of_thoughts_without_an_end(
    thinking_job: qwen_batch.Job, tmp_path: Path, read: str
) -> None:
    arguments = [tmp_path / "out.jsonl"] if read == "write" else []
    with pytest.warns(UserWarning, match="ended inside the thought") as found:
        getattr(thinking_job, read)(*arguments)
    assert [warning.filename for warning in found] == [__file__]


def test_results_with_answers_come_without_a_warning(store: JobStore) -> None:
    run_job(store, "job-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(qwen_batch.Job(store, "job-1", lambda _: None).results())) == 40
