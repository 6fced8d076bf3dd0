"""The facets of the store that workers use: run shards, recover shards, report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from jobs.records.completion import Completion
from jobs.records.job import Lease, LeaseStatus, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats, TimelineSample
from jobs.records.worker_report import WorkerReport


@dataclass(frozen=True)
class Leased:
    """A shard that the caller of `ShardWork.lease_next` now holds."""

    lease: Lease


@dataclass(frozen=True)
class RunAlone:
    """A quarantined shard. The caller must finish its other shards, then call `ShardWork.lease` with `isolated`."""

    shard: ShardRef


class ShardWork(Protocol):
    """Leases shards, and writes their results. An outdated lease changes nothing."""

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, isolated: bool = False) -> Lease | None:
        """Take a shard for `ttl_seconds`, by the server's clock. The first lease of a job makes it `in_progress`.

        Returns None when the shard is finished or another live worker holds it. Returns None also when the job has
        ended, is being cancelled, is paused, has passed its deadline, or does not exist.

        A shard whose lease has expired twice is quarantined, because it may crash its workers. Only a worker that
        passes `isolated` gets it.

        Args:
            isolated: True if the worker runs no other shard, and will run none until it has finished this one. If the
                worker then stops responding, this shard is certainly the cause.
        """

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Leased | RunAlone | None:
        """Take the next shard of this model, from the job that was served longest ago at the highest priority.

        Returns `RunAlone` when the next shard is quarantined. The job then counts as served. Returns None when no shard
        waits. A shard with an expired lease does not count as waiting until `recoverable_shards` has dropped that
        lease.

        Args:
            passing_over: Ids of jobs to skip. While one of them has a shard that waits, no job of a lower priority is
                served either.
        """

    def try_backup(self, model: str, worker_id: str, ttl_seconds: float, min_seconds: float) -> Lease | None:
        """Become the backup of a slow shard of this model. Call it when the worker has nothing else to do.

        A shard is slow when another live worker has held it for at least `min_seconds`. It must also have been held
        for twice as long as finished shards of its job were. Returns None when there is no slow shard. A job with
        waiting shards has none. A shard that has lost a worker never gets a backup.

        The caller uses this lease like the holder: it renews the lease, writes lines and finishes the shard. The first
        of the two to finish the shard finishes it for both. The lease ends when the holder's lease ends in any way.

        Args:
            min_seconds: Minimum time in seconds that the holder must have held the shard.
        """

    def wait_for_notification(self, model: str, since: str | None, timeout_seconds: float) -> str | None:
        """Sleep until a client gives a job of this model shards to run, or until `timeout_seconds` have passed.

        `open`, `extend`, `resume` and `retry` send such a notification. A notification that was sent before this call,
        but after `since`, also ends the wait. Therefore none is lost between a look at the jobs and this call.

        Notifications only make a worker react faster. A server may lose some at a failover. No notification is sent
        when a shard becomes free in another way. Therefore the caller must also poll.

        Args:
            since: The value that the previous call returned; None in the first call.

        Returns the latest notification, or `since` if none came.
        """

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        """Prolong each lease that its worker still holds, and return the status of each.

        All requests go to the server together; each lease is one atomic change.
        """

    def release(self, lease: Lease) -> bool:
        """Give an unfinished shard back. Returns True if the lease was valid and the shard needs a hint now."""

    def pending(self, lease: Lease) -> list[Prompt]:
        """Return the shard's lines that have no result yet, in input order. Raises `LeaseLost`.

        For a lease with `lines_at_a_time`, returns at most that many lines. Call again after writing their results,
        until the list is empty.
        """

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        """Store results and update the job's counters in one step, so that counts always equal lines.

        A line that already has a result keeps it, because a shard may be delivered twice. Returns the number of new
        results. Raises `LeaseLost`, and changes nothing, when the lease's token is no longer valid for the shard.
        """

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        """Close a shard: compress its results, drop its lease, add its statistics to the job's.

        Call it when every line has a result. In a job that ends early, the remaining lines get `cancelled` or `expired`
        errors. The last shard ends the job in the same step. Returns True if this call ended the job.
        Raises `LeaseLost`.
        """

    def give_up(self, lease: Lease, why: str) -> bool:
        """Take a shard that cannot run (its input is damaged, for example) out of its job. Its results so far stay.

        The job continues without the shard's missing lines. It ends as `failed`, with `why` as its error.
        Returns True if this call ended the job. Raises `LeaseLost`.
        """


class ShardRecovery(Protocol):
    """Recovers the shards of lost workers, and ends jobs that are cancelled or late."""

    def recoverable_shards(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        """Find up to `limit` shards of this model's unfinished jobs that nobody holds, and drop expired leases.

        Such a shard was never leased, was released, or its lease has expired. This call also ends a cancelled job, or a
        job past its deadline, when nobody holds its shards any more. Missing lines of a job past its deadline become
        `expired` errors.

        The store narrows down which line crashes its workers. After two lost workers, the shard is quarantined: it runs
        alone in a worker. If that worker is lost too, its lines run an eighth at a time, then one at a time. A line
        that ran alone in two lost workers gets a `worker_lost` error, and the other lines continue. A worker that was
        only frozen or cut off does not count: it proves that it is alive by using its old lease again.

        Args:
            expired_only: True to return only the shards whose expired lease this call drops. No hint names these any
                more, while the other shards usually have one in the queue.
        """


class Fleet(Protocol):
    """Publishes what workers report: their states, their models, and samples of the jobs that they run."""

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        """Publish a worker's state. The worker counts as lost `ttl_seconds` after its last report.

        A full server raises `StoreFull`. It still keeps the previous report for another `ttl_seconds`.
        """

    def forget_worker(self, worker_id: str) -> None:
        """Remove the report of a worker that stops in an orderly way."""

    def workers(self) -> list[WorkerReport]:
        """Return the workers that reported within their time to live, sorted by model, host and pid."""

    def lost_workers(self) -> list[WorkerReport]:
        """Return the last report, marked `lost`, of each worker whose reports ended less than `LOST_SECONDS` ago."""

    def publish_model(self, card: ModelCard) -> None:
        """Store the facts of a served model, for clients."""

    def model(self, name: str) -> ModelCard | None:
        """Return the facts of a model that some worker has served, or None."""

    def models(self) -> list[ModelCard]:
        """Return the facts of every model that some worker has served, sorted by name."""

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        """Append a sample to a job's timeline. The store keeps the samples of about the last hour."""
