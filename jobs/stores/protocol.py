"""The results store, which is the truth about every job. A Celery message is only a hint that work exists."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from jobs.records.completion import Completion
from jobs.records.job import Job, Lease, LeaseStatus, NewJob, ShardRef
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import ShardStats, TimelineSample
from jobs.records.worker_report import WorkerReport
from jobs.stats.stats import JobStats
from jobs.stores.damage import Damage

NO_NEWS = "0"


class JobStore(Protocol):
    """The interface between clients and workers. Thread-safe; every method is one atomic change or one read.

    Every method raises `StoreUnavailable` when the server cannot be reached, and `StoreFull` when it refuses writes.
    A method that names a job raises `JobNotFound` when the job does not exist. A method that names one job or one
    shard raises `RecordDamaged` when it cannot read a record that it needs. A method that reads many records skips
    a damaged record and notes it in `damage`.

    "To hint" a shard means to send a Celery message that names it. The caller does that, not the store.
    """

    # --- the client's side -------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Return if the store answers, else raise."""

    def damage(self) -> Damage:
        """Return the damaged records that this object has skipped. The caller reports them to the user."""

    def create(self, spec: NewJob) -> None:
        """Store a new job in state `validating`. Call `add_shard` for each shard next, then `open`."""

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        """Store one shard's lines, compressed.

        Args:
            known: Completions (no errors) of lines that need not run. They count as `completed` and as `reused`.
        """

    def open(self, job_id: str) -> list[ShardRef]:
        """Put a job whose shards are all stored in state `queued`. A job without lines becomes `completed`.

        Returns the shards to hint.
        """

    def submitted(self, key: str) -> Job | None:
        """Return the job that holds this submission key, or None if it no longer stands (`Job.stands`)."""

    def claim(self, job_id: str) -> str:
        """Claim the submission key in the job's spec; call before `open`. Returns the id of the job that holds the key.

        If that is another job, delete this one and do not open it.

        One job gets the key when several claim it at once. If the holder is still being submitted, the call waits
        for it. After two seconds the holder's client counts as gone, and the holder is deleted.
        """

    def job(self, job_id: str) -> Job:
        """Return the job in its current state."""

    def jobs(self, limit: int = 100) -> list[Job]:
        """Return the newest `limit` jobs, newest first."""

    def stats(self, job_id: str) -> JobStats:
        """Return every figure of the statistics table. They come from counters: no result is read."""

    def timeline(self, job_id: str) -> list[TimelineSample]:
        """Return samples of about one second each, oldest first, for plots."""

    def results(self, job_id: str) -> Iterator[Completion]:
        """Iterate over the finished lines in input order, in constant memory. Works while the job runs, too."""

    def lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        """Return a shard's lines in input order, each with its result, or None if it has no result yet."""

    def request_cancel(self, job_id: str) -> Job:
        """Ask for the end of a job. Returns the job after the call; a job that has ended does not change.

        Running shards learn of it at their next renewal. Lines of shards that nobody runs become `cancelled` errors at
        once. When no shard is leased, the job ends at once.
        """

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        """Add all shards to a job, or none. A completed job is queued again, without a deadline.

        Raises `JobConflict` if the job has been extended since `spec` was read. Also raises `JobConflict` unless the
        job is queued, in progress or completed.

        Args:
            spec: The job's spec as the caller read it.
            shards: Lines of each new shard. Shard indexes continue from the job's last one.

        Returns the new shards, to hint.
        """

    def pause(self, job_id: str) -> Job:
        """Stop leasing a job's shards until `resume`. Workers give running shards back at their next renewal.

        Finished lines stay. Raises `JobConflict` unless the job is queued or in progress.
        """

    def resume(self, job_id: str) -> list[ShardRef]:
        """Resume a paused job. Returns the shards to hint.

        Raises `JobConflict` unless the job is queued or in progress.
        """

    def retry(self, job_id: str) -> list[ShardRef]:
        """Open the failed lines of an ended job again.

        Their results are deleted, the counters are adjusted, and the job is `queued` without a deadline. Lines whose
        results are gone or damaged are opened as well (`reopen_lost`).

        Returns the shards to hint. The list is empty, and nothing changes, when no line has failed and none is missing.
        Raises `JobConflict` while the job has not ended, and every error that `reopen_lost` raises.
        """

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        """Open an ended job again, for the lines whose results are gone from the store or damaged.

        Reads all results, and sets the counters to the results that are left.

        Returns the shards to hint. The list is empty, and nothing changes, when each line has its result.
        Raises `JobConflict` while the job has not ended. Raises `StoreDamaged` if results are missing and the input of
        none of these lines can be read.
        """

    def delete(self, job_id: str) -> None:
        """Free all memory of a job that has ended or was never opened.

        Raises `JobConflict` while the job is queued or in progress.
        """

    def find_run(self, fingerprint: str) -> str | None:
        """Return the id that `remember_run` stored under this fingerprint, or None if that job no longer exists."""

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        """Store which job `qwen-batch run` made of a file, so that it can continue a killed run."""

    # --- the worker's side -------------------------------------------------------------------------------------

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, alone: bool = False) -> Lease | None:
        """Take a shard for `ttl_seconds`, by the server's clock. The first lease of a job makes it `in_progress`.

        Returns None when the shard is finished or another live worker holds it. Returns None also when the job has
        ended, is being cancelled, is paused, has passed its deadline, or does not exist.

        A shard whose lease has expired twice may crash its workers. Only a worker that passes `alone` gets it.

        Args:
            alone: True if the worker runs no other shard, and will run none until it has finished this one. Then it is
                certain which shard is at fault if the worker falls silent.
        """

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Lease | ShardRef | None:
        """Take the next shard of this model, from the job that was served longest ago at the highest priority.

        Returns a `ShardRef` when the next shard must run alone. The caller then makes room and calls `lease` for it.
        That counts as the job's turn. Returns None when no shard waits. A shard with an expired lease does not wait
        before `stranded` has dropped that lease.

        Args:
            passing_over: Ids of jobs to skip. While one of them has a shard that waits, no job of a lower priority is
                served either.
        """

    def wait_for_news(self, model: str, since: str, timeout_seconds: float) -> str:
        """Sleep until a client gives a job of this model shards to run, or until `timeout_seconds` have passed.

        `open`, `extend`, `resume` and `retry` give such a notification. One that came before this call, but after
        `since`, ends the wait too. So none is lost between a look at the jobs and this call.

        Notifications only make a worker react faster. A server may lose some at a failover. A shard that becomes free
        in another way gives none. So the caller must also poll.

        Args:
            since: The value that the previous call returned; `NO_NEWS` in the first call.
        """

    def back_up(self, model: str, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        """Become the second runner of a slow shard of this model. Call it when the worker has nothing else to do.

        A shard is slow when another live worker has held it for at least `least_seconds`. It must also have been held
        for twice as long as finished shards of its job were. Returns None when there is no slow shard. A job with
        waiting shards has none. A shard that has lost a worker never gets a second runner.

        The caller renews this lease, writes under it and finishes under it like the holder. The first of the two to
        finish the shard finishes it for both. The lease ends when the holder's lease ends in any way.

        Args:
            least_seconds: Minimum time in seconds that the holder must have held the shard.
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
        """Close a shard: compact its results, drop its lease, add its statistics to the job's.

        Call it when every line has a result. In a job that ends early, the remaining lines get `cancelled` or `expired`
        errors. The last shard ends the job in the same step. Returns True if this call ended the job.
        Raises `LeaseLost`.
        """

    def give_up(self, lease: Lease, why: str) -> bool:
        """Take a shard that cannot run (its input is damaged, for example) out of its job. Its results so far stay.

        The job continues without the shard's missing lines. It ends as `failed`, with `why` as its error.
        Returns True if this call ended the job. Raises `LeaseLost`.
        """

    def stranded(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        """Find up to `limit` shards of this model's unfinished jobs that nobody holds, and drop expired leases.

        Such a shard was never leased, was released, or its lease has expired. This call also ends a cancelled job, or a
        job past its deadline, when nobody holds its shards any more. Missing lines of a job past its deadline become
        `expired` errors.

        The store narrows down which line crashes its workers. After two lost workers, the shard runs alone in a worker.
        If that worker is lost too, its lines run an eighth at a time, then one at a time. A line that ran alone in two
        lost workers gets a `worker_lost` error, and the other lines continue. A worker that was only frozen or cut off
        does not count: it proves that it is alive by using its old lease again.

        Args:
            expired_only: True to return only the shards whose expired lease this call drops. No hint names them any
                more, while the other shards usually have one in the queue.
        """

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        """Append a sample. The store keeps the samples of about the last hour."""

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        """Publish a worker's state. The worker counts as lost `ttl_seconds` after its last report.

        A full server raises `StoreFull`. It still keeps the previous report for another `ttl_seconds`.
        """

    def forget_worker(self, worker_id: str) -> None:
        """Remove the report of a worker that stops in an orderly way."""

    def workers(self) -> list[WorkerReport]:
        """Return the workers that reported within their time to live, sorted by model, host and pid."""

    def lost_workers(self) -> list[WorkerReport]:
        """Return the last report, marked `lost`, of each worker that fell silent less than `LOST_SECONDS` ago."""

    def publish_model(self, card: ModelCard) -> None:
        """Store the facts of a served model, for clients."""

    def model(self, name: str) -> ModelCard | None:
        """Return the facts of a model that some worker has served, or None."""
