"""The laws of every store, under random interleavings of clients, workers and passing time."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.errors import JobConflict, LeaseLost
from jobs.records.completion import Completion
from jobs.records.job import JobState, Lease, LeaseStatus, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased, RunAlone
from testing.jobs.sample_jobs import completed, failed, new_job, shard_stats, submit
from tests.jobs.stores.conftest import StoreUnderTest, memory_under_test, redis_under_test

LONG = 60.0
LINES, SHARD_SIZE = 7, 3
SHARDS = st.integers(0, 4)  # the last two are there once the job has been extended
MAX_ADDED = 2
WORKERS = st.sampled_from(["worker-1", "worker-2", "worker-3"])


def lines_of(shard: int) -> range:
    """The lines of a shard; one that was added has one line."""
    first = shard * SHARD_SIZE
    return range(first, min(first + SHARD_SIZE, LINES)) if shard < 3 else range(LINES + shard - 3, LINES + shard - 2)


def shard_of(line: int) -> int:
    """The shard of a line."""
    return line // SHARD_SIZE if line < LINES else 3 + line - LINES


class StoreMachine(RuleBasedStateMachine):
    """One job, three workers that come and go, and a client that cancels and retries.

    `under_test` is set by the test that runs the machine.
    """

    under_test: StoreUnderTest

    @initialize(known=st.sets(st.integers(0, LINES - 1), max_size=5))
    def submit_job(self, known: set[int]) -> None:
        self.store: JobStore = self.under_test.store
        submit(self.store, new_job(lines=LINES, shard_size=SHARD_SIZE), known)
        self.leases: list[Lease] = []
        self.dying: list[Lease] = []  # of workers that will be lost when time has passed
        self.seen: dict[int, Completion] = {}  # the results as they were after the last step
        self.writes = self.added = 0

    # --- what workers and clients do ---------------------------------------------------------------------------

    @rule(shard=SHARDS, worker=WORKERS, dies_soon=st.booleans(), isolated=st.booleans())
    def lease(self, shard: int, worker: str, dies_soon: bool, isolated: bool) -> None:
        lease = self.store.work.lease(ShardRef("job-1", shard), worker, LONG, isolated)
        if lease is not None:
            assert isolated or lease.lines_at_a_time is None
            self._got(lease, dies_soon)

    @rule(worker=WORKERS, dies_soon=st.booleans())
    def lease_next(self, worker: str, dies_soon: bool) -> None:
        match self.store.work.lease_next("demo", worker, LONG):
            case Leased(lease):
                self._got(lease, dies_soon)
            case RunAlone(shard):
                isolated = self.store.work.lease(shard, worker, LONG, isolated=True)
                assert isolated is not None
                self._got(isolated, dies_soon)

    @rule(worker=WORKERS)
    def try_backup(self, worker: str) -> None:
        lease = self.store.work.try_backup("demo", worker, LONG, 0.0)
        if lease is not None:
            assert lease.backup and not self.store.jobs.get("job-1").ending
            self._got(lease, dies_soon=False)

    @rule(worker=WORKERS)
    def lose_a_worker(self, worker: str) -> None:
        for shard in self.store.recovery.recoverable_shards("demo", 10):
            lease = self.store.work.lease(shard, worker, LONG, isolated=True)
            assert lease is not None
            self._got(lease, dies_soon=True)
        self.time_passes()

    @rule()
    def time_passes(self) -> None:
        for lease in self.dying:
            self.under_test.expire(lease)
        self.dying = []

    @rule(data=st.data(), lines=st.lists(st.integers(0, SHARD_SIZE - 1), max_size=4), works=st.booleans())
    def write(self, data: st.DataObject, lines: list[int], works: bool) -> None:
        lease = self._any_lease(data)
        if lease is None:
            return
        there = lines_of(lease.shard.index)
        indexes = [there[line] for line in lines if line < len(there)]
        self.writes += 1
        made = [completed(index, f"write {self.writes}") if works else failed(index) for index in indexes]
        try:
            new = self.store.work.write(lease, made)
        except LeaseLost:
            assert self._results() == self.seen, "a fenced worker changed something"
            return
        assert new == len(set(indexes) - set(self.seen))

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        lease = self._any_lease(data)
        if lease is None:
            return
        try:
            while pending := self.store.work.pending(lease):
                self.store.work.write(lease, [completed(prompt.index, "finished") for prompt in pending])
            ended = self.store.work.finish_shard(lease, shard_stats(lease.worker_id))
        except LeaseLost:
            assert self._results() == self.seen, "a fenced worker changed something"
            return
        assert ended == self.store.jobs.get("job-1").state.ended

    @rule(data=st.data())
    def finish_after_a_cancellation(self, data: st.DataObject) -> None:
        lease = self._any_lease(data)
        if lease is not None and self.store.work.renew([lease], LONG) == [LeaseStatus.CANCELLED]:
            self.store.work.finish_shard(lease, shard_stats(lease.worker_id))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = self._any_lease(data)
        if lease is not None and self.store.work.release(lease):
            assert (
                lease.shard in self.store.recovery.recoverable_shards("demo", 10) or self.store.jobs.get("job-1").ending
            )

    @rule(expired_only=st.booleans())
    def recover(self, expired_only: bool) -> None:
        self.store.recovery.recoverable_shards("demo", 10, expired_only)

    @rule()
    def cancel(self) -> None:
        before = self.store.jobs.get("job-1")
        after = self.store.control.request_cancel("job-1")
        assert after == before if before.state.ended else after.ending

    @rule(pauses=st.booleans())
    def pause_or_resume(self, pauses: bool) -> None:
        try:
            if pauses:
                assert self.store.control.pause("job-1").paused
                assert self.store.recovery.recoverable_shards("demo", 10) == []
                assert self.store.work.lease_next("demo", "worker-1", LONG) is None
            else:
                self.store.control.resume("job-1")
        except JobConflict:
            job = self.store.jobs.get("job-1")
            assert job.state.ended or job.ending

    @rule()
    def the_deadline_passes(self) -> None:
        self.under_test.pass_deadline("job-1")

    @precondition(lambda self: self.added < MAX_ADDED)
    @rule()
    def extend(self) -> None:
        line = LINES + self.added
        try:
            added = self.store.submissions.extend(
                self.store.jobs.get("job-1").spec, [[Prompt(line, f"line-{line}", text="More?")]]
            )
        except JobConflict:
            job = self.store.jobs.get("job-1")
            assert job.ending or job.state is JobState.EXPIRED
            return
        assert added == [ShardRef("job-1", 3 + self.added)]
        self.added += 1

    @rule()
    def retry(self) -> None:
        try:
            shards = self.store.control.retry("job-1")
        except JobConflict:
            assert not self.store.jobs.get("job-1").state.ended
            return
        assert self.store.jobs.get("job-1").failed == 0
        assert {shard.index for shard in shards} == {shard_of(i) for i, line in self.seen.items() if line.error}
        self.seen = {index: line for index, line in self.seen.items() if line.error is None}

    # --- the laws ----------------------------------------------------------------------------------------------

    @invariant()
    def every_line_has_at_most_one_result_which_never_changes(self) -> None:
        results = self._results()
        assert results.items() >= self.seen.items()
        self.seen = results

    @invariant()
    def counters_equal_lines(self) -> None:
        job, lines = self.store.jobs.get("job-1"), self._results().values()
        good = [line for line in lines if line.error is None]
        assert (job.completed, job.failed) == (len(good), len(lines) - len(good))
        assert job.total_output_tokens == 4 * len(good)
        stats = self.store.jobs.stats("job-1")
        assert stats.finish_reasons == ({"stop": len(good)} if good else {})
        assert stats.error_codes == Counter(line.error.code for line in lines if line.error is not None)
        spans = self.store.jobs.history("job-1").spans
        assert sum(span.completed for span in spans) == job.completed - job.reused
        assert sum(span.output_tokens for span in spans) == 4 * (job.completed - job.reused)
        if job.state.ended:
            assert (job.done, job.shards_done) == (LINES + self.added, 3 + self.added)
            early = JobState.EXPIRED if job.deadline_passed else JobState.CANCELLED
            assert job.state is (early if job.ending else JobState.COMPLETED)

    def teardown(self) -> None:
        """Whatever happened: one more worker and a recovery bring the job to its end, with every line once."""
        with suppress(JobConflict):
            self.store.control.resume("job-1")
        for _ in range(4):
            for shard in self.store.recovery.recoverable_shards("demo", 10):
                lease = self.store.work.lease(shard, "last", LONG, isolated=True)
                assert lease is not None
                while pending := self.store.work.pending(lease):
                    self.store.work.write(lease, [completed(prompt.index) for prompt in pending])
                self.store.work.finish_shard(lease, shard_stats("last"))
            for lease in self.leases:
                self.store.work.release(lease)
        assert self.store.jobs.get("job-1").state.ended
        assert sorted(self._results()) == list(range(LINES + self.added))

    def _got(self, lease: Lease, dies_soon: bool) -> None:
        if dies_soon:
            self.dying.append(lease)
        older = [known.token for known in self.leases if known.shard == lease.shard]
        assert all(token < lease.token for token in older)
        self.leases.append(lease)

    def _any_lease(self, data: st.DataObject) -> Lease | None:
        return data.draw(st.sampled_from(self.leases)) if self.leases else None

    def _results(self) -> dict[int, Completion]:
        lines = list(self.store.jobs.results("job-1"))
        indexes = [line.index for line in lines]
        assert indexes == sorted(set(indexes)), "not in input order, or twice"
        return dict(zip(indexes, lines, strict=True))


def run_machine(new_store: Any, examples: int) -> None:
    """Run the machine on stores that `new_store` makes, one an example."""

    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__()
            self.under_test = new_store()

    quick = settings(
        max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=quick)


def test_the_memory_store_keeps_the_laws() -> None:
    run_machine(memory_under_test, examples=150)


def test_the_redis_store_keeps_the_laws(client: redis.Redis) -> None:
    def new_store() -> StoreUnderTest:
        client.flushall()
        return redis_under_test(client)

    run_machine(new_store, examples=40)
