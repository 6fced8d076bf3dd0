"""One shard, from store to store."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import StrEnum

from jobs.errors import JobNotFound, LeaseLost, StoreFull, StoreUnavailable
from jobs.hints import HintSender
from jobs.job import Lease, LeaseStatus, ShardRef
from jobs.stores.protocol import JobStore
from worker.active_shards import ActiveShard, ActiveShards
from worker.facts import WorkerFacts
from worker.in_flight import InFlight, Interruption
from worker.inference_engine import InferenceEngine
from worker.lease_keeper import LeaseKeeper
from worker.line_result import completion_of
from worker.outbox import Outbox
from worker.preparation import Preparation
from worker.store_link import StoreLink

log = logging.getLogger(__name__)

ABORT_SECONDS = 0.5  # how long aborted lines are waited for: about a step; some turn out to be finished

_INTERRUPTION = {LeaseStatus.CANCELLED: Interruption.CANCELLED, LeaseStatus.LOST: Interruption.LOST}


class Outcome(StrEnum):
    """How running a shard ended, for the log."""

    FINISHED = "finished"
    NOTHING_TO_DO = "nothing to do"  # finished, held by another worker, cancelled, or gone
    CANCELLED = "cancelled"
    LOST = "lost"  # the lease ended, or the job was deleted
    HANDED_BACK = "handed back"  # the store knows that it needs a worker, and a hint was sent
    PUT_OFF = "put off"  # the store did not answer; a reaper will find the shard


@dataclass(frozen=True)
class ShardRunner:
    """Runs shards. Thread-safe: several threads run one each, and all of their lines share the engine's batch."""

    store: JobStore
    hints: HintSender
    engine: InferenceEngine
    preparation: Preparation
    lease_keeper: LeaseKeeper
    link: StoreLink
    active: ActiveShards
    facts: WorkerFacts
    flush_seconds: float  # how long a finished line may wait before it is stored

    def run(self, shard: ShardRef) -> Outcome:
        """Run the lines of a shard that have no result yet, if nobody else does.

        Returns when the shard is finished or no longer this worker's. Raises `EngineDead`; the lease then expires by
        itself, so that the attempt counts.
        """
        activity = ActiveShard(shard, InFlight(self.engine))
        started_at = time.monotonic()
        with self.active.entered(activity):
            try:
                outcome = self._run(activity)
            except (LeaseLost, JobNotFound):
                outcome = Outcome.LOST
            except (StoreUnavailable, StoreFull) as error:
                self.link.failed(error)
                outcome = Outcome.PUT_OFF
        seconds = time.monotonic() - started_at
        log.info("%s: job=%s shard=%d seconds=%.2f", outcome, shard.job_id, shard.index, seconds)
        return outcome

    def _run(self, activity: ActiveShard) -> Outcome:
        if self.active.stopping.is_set():
            self._hint(activity.ref)
            return Outcome.HANDED_BACK
        in_flight = activity.in_flight
        held = self.lease_keeper.take(activity.ref, lambda status: in_flight.interrupt(_INTERRUPTION[status]))
        if held is None:
            return Outcome.NOTHING_TO_DO
        try:
            return self._run_leased(held.lease, activity)
        finally:
            in_flight.abort(timeout_seconds=0)
            self.engine.take_group_stats(_group(held.lease))
            self.lease_keeper.let_go(held)

    def _run_leased(self, lease: Lease, activity: ActiveShard) -> Outcome:
        job, prompts = self.link.insist(lambda: (self.store.job(lease.shard.job_id).spec, self.store.pending(lease)))
        shard = lease.shard
        log.info("leased: job=%s shard=%d lines=%d attempt=%d", job.id, shard.index, len(prompts), lease.attempt)
        outbox = Outbox(store=self.store, lease=lease, flush_seconds=self.flush_seconds, link=self.link)
        prepared = self.preparation.prepare(prompts, job, group=_group(lease), on_token=activity.count_token)
        outbox.add(prepared.refused)
        in_flight = activity.in_flight
        in_flight.submit(prepared.runnable)
        complete = self._collect(in_flight, outbox)
        self.link.insist(outbox.write_all)
        cancelled = in_flight.interruption is Interruption.CANCELLED
        if not complete and not cancelled:
            return self._hand_back(lease)
        stats = self.facts.shard_stats(self.engine.take_group_stats(_group(lease)))
        self.link.insist(lambda: self.store.finish_shard(lease, stats))
        return Outcome.CANCELLED if cancelled else Outcome.FINISHED

    def _collect(self, in_flight: InFlight, outbox: Outbox) -> bool:
        """Move finished lines to the outbox until none is left; returns whether every line has a result."""
        missing = 0
        while in_flight:
            before = len(in_flight)
            if in_flight.interruption is None:
                done = in_flight.collect(outbox.seconds_until_due())
            else:
                done = in_flight.abort(ABORT_SECONDS)
            completions = [completion for line in done if (completion := completion_of(line)) is not None]
            missing += before - len(in_flight) - len(completions)
            outbox.add(completions)
            outbox.flush_if_due()
        return missing == 0

    def _hand_back(self, lease: Lease) -> Outcome:
        if not self.link.insist(lambda: self.store.release(lease)):
            return Outcome.LOST
        self._hint(lease.shard)
        return Outcome.HANDED_BACK

    def _hint(self, shard: ShardRef) -> None:
        self.hints.send(self.facts.model, [shard])


def _group(lease: Lease) -> str:
    """The engine's name for this run of the shard; its token tells it from an earlier run in the same process."""
    return f"{lease.shard.job_id}/{lease.shard.index}/{lease.token}"
