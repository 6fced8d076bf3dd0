"""Which shard is next: priority first, then the job that was served longest ago."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from jobs.records.job import Lease
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased
from testing.jobs.sample_jobs import completed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest

LONG = 60.0


def take(under_test: StoreUnderTest, passing_over: tuple[str, ...] = ()) -> str | None:
    """The job whose turn it is; its shard is leased."""
    found = under_test.store.work.lease_next("demo", "worker", LONG, passing_over)
    under_test.let_pass(0.002)  # turns are told apart by milliseconds
    assert found is None or isinstance(found, Leased)
    return found.lease.shard.job_id if found else None


def test_jobs_take_turns(under_test: StoreUnderTest) -> None:
    submit(under_test.store, new_job("huge", lines=20))
    submit(under_test.store, new_job("small", lines=4))
    assert [take(under_test) for _ in range(6)] == ["huge", "small", "huge", "small", "huge", "huge"]


@pytest.mark.parametrize("priority", [-100, 100])
def test_jobs_of_the_most_and_the_least_priority_take_turns(under_test: StoreUnderTest, priority: int) -> None:
    for name in ("first", "second"):
        submit(under_test.store, msgspec.structs.replace(new_job(name, lines=6), priority=priority))
    assert [take(under_test) for _ in range(6)] == ["first", "second"] * 3


def test_a_job_that_comes_later_is_next(under_test: StoreUnderTest) -> None:
    submit(under_test.store, new_job("huge", lines=20))
    for _ in range(5):
        assert take(under_test) == "huge"
    submit(under_test.store, new_job("small", lines=1))
    assert take(under_test) == "small"


def test_a_higher_priority_goes_first_and_a_lower_one_last(under_test: StoreUnderTest) -> None:
    for name, priority in (("low", -1), ("middle", 0), ("high", 7)):
        submit(under_test.store, msgspec.structs.replace(new_job(name, lines=4), priority=priority))
    assert [take(under_test) for _ in range(7)] == ["high", "high", "middle", "middle", "low", "low", None]


def test_a_jobs_shards_come_in_their_order_and_each_once(under_test: StoreUnderTest) -> None:
    shards = submit(under_test.store, new_job(lines=20))
    found = [under_test.store.work.lease_next("demo", "worker", LONG) for _ in range(11)]
    assert [taken.lease.shard for taken in found if isinstance(taken, Leased)] == shards


def test_jobs_that_are_passed_over_are_not_served(under_test: StoreUnderTest) -> None:
    submit(under_test.store, new_job("a", lines=4))
    submit(under_test.store, new_job("b", lines=2))
    assert take(under_test, ("a",)) == "b"
    assert take(under_test, ("a",)) is None
    assert take(under_test) == "a"


def test_a_job_that_is_passed_over_and_waits_lets_no_lower_priority_go_first(under_test: StoreUnderTest) -> None:
    for name, priority in (("high", 1), ("high too", 1), ("low", 0)):
        submit(under_test.store, msgspec.structs.replace(new_job(name, lines=2), priority=priority))
    assert take(under_test, ("high",)) == "high too"
    assert take(under_test, ("high",)) is None
    assert take(under_test, ("high too",)) == "high"
    assert take(under_test, ("high",)) == "low"


def test_jobs_of_other_models_cancelled_and_ended_ones_have_no_turn(under_test: StoreUnderTest) -> None:
    store = under_test.store
    submit(store, new_job("other", model="other"))
    submit(store, new_job("cancelled", lines=4))
    assert take(under_test) == "cancelled"
    store.control.request_cancel("cancelled")
    store.submissions.create(new_job("validating"))
    assert take(under_test) is None


def test_a_shard_that_was_given_back_is_next_again(store: JobStore) -> None:
    submit(store, new_job(lines=2))
    found = store.work.lease_next("demo", "worker", LONG)
    assert isinstance(found, Leased)
    assert store.work.lease_next("demo", "worker", LONG) is None
    store.work.release(found.lease)
    assert isinstance(store.work.lease_next("demo", "worker", LONG), Leased)


def test_many_workers_at_once_get_every_shard_once_and_none_goes_away_empty_handed(store: JobStore) -> None:
    shards = submit(store, new_job(lines=40, shard_size=1))

    def work() -> list[Lease]:
        taken = []
        while isinstance(found := store.work.lease_next("demo", "worker", LONG), Leased):
            taken.append(found.lease)
            store.work.write(found.lease, [completed(found.lease.shard.index)])
            store.work.finish_shard(found.lease, shard_stats())
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [lease for done in [pool.submit(work) for _ in range(6)] for lease in done.result()]
    assert sorted(lease.shard for lease in taken) == shards
