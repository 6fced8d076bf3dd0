"""Run a shard: lease it, compute its lines, write their results, finish it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from jobs.errors import JobNotFound, LeaseLost, RecordDamaged, StoreFull, StoreUnavailable
from jobs.queue.hints import HintSender
from jobs.records.job import Lease, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.protocol import JobStore
from model.text.tool_calls import ToolCallParser
from worker.facts import WorkerFacts
from worker.shards.active_shards import ActiveShard, ActiveShards
from worker.shards.in_flight import InFlight, Interruption
from worker.shards.inference_engine import InferenceEngine
from worker.shards.line_result import completion_of
from worker.shards.outbox import Outbox
from worker.shards.preparation import Preparation
from worker.shards.shard_dispatcher import ShardDispatcher, Taken, interrupter
from worker.upkeep.lease_keeper import HeldLease, LeaseKeeper
from worker.upkeep.store_link import StoreLink

log = logging.getLogger(__name__)

T = TypeVar("T")

ABORT_SECONDS = 0.5  # max wait for aborted lines, about one step; some of them may have finished


class Outcome(StrEnum):
    """Result of running a shard, for the log."""

    FINISHED = "finished"
    NOTHING_TO_DO = "nothing to do"  # the shard is finished, held by another worker, cancelled or deleted
    CANCELLED = "cancelled"
    PAUSED = "paused"  # given back until its job is resumed
    LOST = "lost"  # the lease ended, or the job was deleted
    HANDED_BACK = "handed back"  # given back to the store and hinted again
    LEFT_TO_HOLDER = "left to its holder"  # a backup stopped; the holder continues
    DAMAGED = "damaged"  # given up, because its records in the store cannot be read
    PUT_OFF = "put off"  # the store did not answer; a later recovery finds the shard


@dataclass(frozen=True)
class ShardRunner:
    """Runs shards. Thread-safe: each of several threads runs one shard, and all lines share the engine's batch."""

    store: JobStore
    hints: HintSender
    engine: InferenceEngine
    preparation: Preparation
    lease_keeper: LeaseKeeper
    dispatcher: ShardDispatcher
    link: StoreLink
    active: ActiveShards
    facts: WorkerFacts
    flush_seconds: float  # max time before a finished line is stored
    tool_parser: ToolCallParser | None = None  # None if the model cannot call tools

    def run(self, hint: ShardRef) -> Outcome:
        """Run the pending lines of the next shard. The store chooses the shard, which may not be the hinted one.

        Returns when the shard is finished or this worker no longer holds it. Raises `EngineDead`. Then the lease is not
        released but expires, so that the store counts a lost worker.
        """
        try:
            with self.dispatcher.taken(hint) as taken:
                if isinstance(taken, Taken):
                    return self._put_off_if_down(lambda: self._run(taken.held, taken.activity))
        except (StoreUnavailable, StoreFull) as error:
            self.link.failed(error)
            return Outcome.PUT_OFF
        except RecordDamaged as error:
            self.store.damage.note(error)
            return Outcome.NOTHING_TO_DO
        if self.active.leaving:
            self._hint(hint)
            return Outcome.HANDED_BACK
        if taken is None:
            return Outcome.NOTHING_TO_DO
        activity = ActiveShard(taken.shard, InFlight(self.engine))
        with self.active.entered_isolated(activity) as granted:
            return self._put_off_if_down(lambda: self._run_isolated(activity)) if granted else Outcome.NOTHING_TO_DO

    def run_backup(self, min_seconds: float) -> Outcome:
        """Run the pending lines of another worker's slow shard (`ShardWork.try_backup`). Raises `EngineDead`."""
        activity = ActiveShard(None, InFlight(self.engine))
        with self.active.entered(activity):
            return self._put_off_if_down(lambda: self._run_backup(activity, min_seconds))

    def _run_backup(self, activity: ActiveShard, min_seconds: float) -> Outcome:
        held = self.lease_keeper.take_backup(self.facts.model, interrupter(activity), min_seconds)
        if held is None:
            return Outcome.NOTHING_TO_DO
        activity.ref = held.lease.shard
        return self._run(held, activity)

    def _run_isolated(self, activity: ActiveShard) -> Outcome:
        assert activity.ref is not None
        if self.active.leaving:
            self._hint(activity.ref)
            return Outcome.HANDED_BACK
        held = self.lease_keeper.take(activity.ref, interrupter(activity), isolated=True)
        return Outcome.NOTHING_TO_DO if held is None else self._run(held, activity)

    def _put_off_if_down(self, run: Callable[[], T]) -> T | Outcome:
        try:
            return run()
        except (StoreUnavailable, StoreFull) as error:
            self.link.failed(error)
            return Outcome.PUT_OFF
        except RecordDamaged as error:
            self.store.damage.note(error)
            return Outcome.DAMAGED

    def _run(self, held: HeldLease, activity: ActiveShard) -> Outcome:
        lease = held.lease
        started_at = time.monotonic()
        try:
            outcome = self._run_sound(lease, activity)
        except (LeaseLost, JobNotFound):
            outcome = Outcome.LOST
        finally:
            activity.in_flight.abort(timeout_seconds=0)
            self.engine.take_group_stats(_group(lease))
            self.lease_keeper.let_go(held)
        seconds = time.monotonic() - started_at
        log.info("%s: job=%s shard=%d seconds=%.2f", outcome, lease.shard.job_id, lease.shard.index, seconds)
        return outcome

    def _run_sound(self, lease: Lease, activity: ActiveShard) -> Outcome:
        """Run a shard, or give it up if its records in the store are damaged: no other worker could run it either."""
        try:
            return self._run_leased(lease, activity)
        except RecordDamaged as error:
            shard, why = lease.shard, f"Shard {lease.shard.index} cannot be run. {error.message}"
            log.error("given up: job=%s shard=%d: %s", shard.job_id, shard.index, error.message)
            self.link.insist(lambda: self.store.work.give_up(lease, why))
            return Outcome.DAMAGED

    def _run_leased(self, lease: Lease, activity: ActiveShard) -> Outcome:
        shard, in_flight = lease.shard, activity.in_flight
        job = self.link.insist(lambda: self.store.jobs.get(shard.job_id)).spec
        prompts = self.link.insist(lambda: self.store.work.pending(lease))
        how = "backing up" if lease.backup else "leased"
        log.info("%s: job=%s shard=%d lines=%d attempt=%d", how, job.id, shard.index, len(prompts), lease.attempt)
        complete = self._run_lines(prompts, job, lease, activity)
        while complete and lease.lines_at_a_time is not None:
            prompts = self.link.insist(lambda: self.store.work.pending(lease))
            if not prompts:
                break
            complete = self._run_lines(prompts, job, lease, activity)
        cancelled = in_flight.interruption is Interruption.CANCELLED
        if not complete and (lease.backup or not cancelled):
            return self._hand_back(lease, activity)
        stats = self.facts.shard_stats(self.engine.take_group_stats(_group(lease)))
        self.link.insist(lambda: self.store.work.finish_shard(lease, stats))
        return Outcome.CANCELLED if cancelled else Outcome.FINISHED

    def _run_lines(self, prompts: Sequence[Prompt], job: NewJob, lease: Lease, activity: ActiveShard) -> bool:
        """Run lines and write their results. Returns whether every line has a result."""
        outbox = Outbox(work=self.store.work, lease=lease, flush_seconds=self.flush_seconds, link=self.link)
        prepared = self.preparation.prepare(prompts, job, group=_group(lease), on_token=activity.count_token)
        outbox.add(prepared.refused)
        activity.in_flight.submit(prepared.runnable)
        activity.preparing = False
        self.active.wakeup.set()  # there may be room: the shard may have fewer lines than assumed
        complete = self._collect(activity.in_flight, outbox)
        self.link.insist(outbox.write_all)
        return complete

    def _collect(self, in_flight: InFlight, outbox: Outbox) -> bool:
        """Move finished lines to the outbox until no line is left. Returns whether every line has a result."""
        missing = 0
        while in_flight:
            before = len(in_flight)
            if in_flight.interruption is None:
                done = in_flight.collect(outbox.seconds_until_due())
            else:
                done = in_flight.abort(ABORT_SECONDS)
            results = (completion_of(line, self.tool_parser, self.facts.quantize) for line in done)
            completions = [completion for completion in results if completion is not None]
            missing += before - len(in_flight) - len(completions)
            outbox.add(completions)
            outbox.flush_if_due()
        return missing == 0

    def _hand_back(self, lease: Lease, activity: ActiveShard) -> Outcome:
        needs_a_worker = self.link.insist(lambda: self.store.work.release(lease))
        if lease.backup:
            return Outcome.LEFT_TO_HOLDER
        if not needs_a_worker:
            return Outcome.PAUSED if activity.in_flight.interruption is Interruption.PAUSED else Outcome.LOST
        self._hint(lease.shard)
        return Outcome.HANDED_BACK

    def _hint(self, shard: ShardRef) -> None:
        self.hints.send(self.facts.model, [shard])


def _group(lease: Lease) -> str:
    """Return the engine's statistics group for this run. Its token separates it from earlier runs of the shard."""
    return f"{lease.shard.job_id}/{lease.shard.index}/{lease.token}"
