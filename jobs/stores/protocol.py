"""The results store: the truth about every job. A Celery message is only a hint that work exists."""

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
    """Everything that client and worker agree on. Thread-safe; every method is one atomic change or one read.

    Every method raises `StoreUnavailable` when the server cannot be reached and `StoreFull` when it refuses writes;
    methods that name a job raise `JobNotFound`. Methods that name one job or shard raise `RecordDamaged` when what they
    need cannot be read. Methods that read many records skip such a record and note it in `damage`.
    """

    # --- the client's side -------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Returns if the store answers."""

    def damage(self) -> Damage:
        """The records that could not be read and that this object has skipped, for whoever tells people of them."""

    def create(self, spec: NewJob) -> None:
        """Store a new job in state `validating`. Its shards follow with `add_shard`, then `open`."""

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        """Store one shard's lines, compressed.

        Args:
            known: Completions (no errors) of some of them that need not be run. They count as completed and `reused`.
        """

    def open(self, job_id: str) -> list[ShardRef]:
        """All shards are stored: the job is `queued` (a job without lines `completed`). Returns the shards to hint."""

    def submitted(self, key: str) -> Job | None:
        """The job under whose key the same was submitted before, if it still stands (`Job.stands`)."""

    def claim(self, job_id: str) -> str:
        """Say, before `open`, that a job is the one for its spec's key. Returns that job's id: this one's, or that of
        another one which stands; then this one is to be deleted, not opened.

        Of several that claim a key at once, one gets it. Another one that is still being submitted is waited for; after
        two seconds its client counts as gone, and it is deleted.
        """

    def job(self, job_id: str) -> Job:
        """The job as it stands."""

    def jobs(self, limit: int = 100) -> list[Job]:
        """The newest jobs first."""

    def stats(self, job_id: str) -> JobStats:
        """Every figure of the statistics table, from counters: no result is read."""

    def timeline(self, job_id: str) -> list[TimelineSample]:
        """Samples of about one second each, oldest first, for plots."""

    def results(self, job_id: str) -> Iterator[Completion]:
        """What is finished, in input order, in constant memory; at any time, also while the job runs."""

    def lines(self, shard: ShardRef) -> list[tuple[Prompt, Completion | None]]:
        """A shard's lines in input order, each with its result if it has one."""

    def request_cancel(self, job_id: str) -> Job:
        """Ask for the end of a job; one that has ended stays as it is. Returns the job as it then stands.

        Running shards see it at their next renewal. Lines that nobody runs become `cancelled` errors at once; when no
        shard is leased, the job ends at once.
        """

    def extend(self, spec: NewJob, shards: Sequence[Sequence[Prompt]]) -> list[ShardRef]:
        """Add shards to a job, all or none; one that is completed is queued again, without a deadline.

        Args:
            spec: The job's as it was read. Raises `JobConflict` if it has been extended since, or if the job is neither
                queued nor in progress nor completed.
            shards: Their lines, whose indexes go on from the job's.

        Returns the new shards, to hint.
        """

    def pause(self, job_id: str) -> Job:
        """Let nobody work on a job until `resume`; running shards are given back at their next renewal.

        Finished lines stay. Raises `JobConflict` unless the job is queued or in progress.
        """

    def resume(self, job_id: str) -> list[ShardRef]:
        """Let a paused job go on. Returns the shards to hint. Raises `JobConflict` as `pause` does."""

    def retry(self, job_id: str) -> list[ShardRef]:
        """Open the failed lines of an ended job again: their results go, counters follow, state is `queued`.

        Lines whose results are gone or damaged are opened as well (`reopen_lost`). Returns the shards to hint; an empty
        list (and no change) when no line had failed and none is missing. The job has no deadline any more.
        Raises `JobConflict` while the job has not ended, and what `reopen_lost` raises.
        """

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        """Open the lines of an ended job whose results are gone from the store or damaged, and with them the job.

        Reads all results. Counters follow: they count what is left. Returns the shards to hint; an empty list (and no
        change) when each line has its result. Raises `JobConflict` while the job has not ended, and `StoreDamaged` if
        results are missing and the input of none of them can be read.
        """

    def delete(self, job_id: str) -> None:
        """Free all of a job that has ended or was never opened. Raises `JobConflict` while it is queued or running."""

    def find_run(self, fingerprint: str) -> str | None:
        """The id of the job that `remember_run` noted under this fingerprint, if it still exists."""

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        """Note which job `qwen-batch run` made of a file, so that a killed run can be taken up again."""

    # --- the worker's side -------------------------------------------------------------------------------------

    def lease(self, shard: ShardRef, worker_id: str, ttl_seconds: float, alone: bool = False) -> Lease | None:
        """Take a shard for `ttl_seconds`, by the server's clock.

        None when there is nothing to do: the shard is finished, leased by a live worker, or its job has ended, is
        being cancelled, or is gone. The first lease of a job makes it `in_progress`.

        A shard whose lease has expired twice may take its workers down. It goes only to a worker that says with `alone`
        that it runs nothing else, and that must run nothing else until it is done with it: then there is no doubt
        about who is to blame if the worker falls silent.
        """

    def lease_next(
        self, model: str, worker_id: str, ttl_seconds: float, passing_over: Collection[str] = ()
    ) -> Lease | ShardRef | None:
        """Take the shard that is next: of the jobs of this model with the highest priority, the one served longest ago.

        A `ShardRef` names a shard that is next and must be run alone: make room for it, then ask for it by `lease`.
        That counts as its job's turn. None when no shard waits; one whose lease has expired waits once `stranded`
        has dropped that.

        Args:
            passing_over: Jobs that are not to be served, nor is any of a lower priority than one of these that waits.
        """

    def wait_for_news(self, model: str, since: str, timeout_seconds: float) -> str:
        """Sleep until a client gives a job of this model shards to run (`open`, `extend`, `resume`, `retry`).

        At most for `timeout_seconds`. What was news before this call counts, too, so that nothing slips through between
        a look at the jobs and this call. It makes a worker quick and no more: a server that fails over may forget
        news, and what becomes free in another way is none.

        Args:
            since: What the call before this one returned; `NO_NEWS` at first.
        """

    def back_up(self, model: str, worker_id: str, ttl_seconds: float, least_seconds: float) -> Lease | None:
        """Become the second runner of a slow shard of this model, for a worker that has nothing else to do.

        Slow: another live worker has held it for `least_seconds` or more, and for twice as long as the finished shards
        of its job were held. None when there is no such shard; a job of which shards wait has none, and a shard that
        has lost a worker is not given to two at once.

        The lease is renewed, and used to write and to finish, like the holder's; whoever finishes first does so for
        both. It ends when the holder's does, in whatever way.
        """

    def renew(self, leases: Sequence[Lease], ttl_seconds: float) -> list[LeaseStatus]:
        """Prolong those leases that are still ours: one change each, asked for together."""

    def release(self, lease: Lease) -> bool:
        """Give a shard back unfinished. True if it was ours and needs a worker now: hint it again."""

    def pending(self, lease: Lease) -> list[Prompt]:
        """The shard's lines that have no result yet, in input order. Raises `LeaseLost`.

        Of a lease with `lines_at_a_time` no more than so many: ask again when those are written, until there are none.
        """

    def write(self, lease: Lease, completions: Sequence[Completion]) -> int:
        """Store results; the same step moves the job's counters, so counts always equal lines.

        A line that already has a result keeps it: shards may be delivered twice. Returns how many were new.
        Raises `LeaseLost` (and changes nothing) when the lease's token is no longer the shard's.
        """

    def finish_shard(self, lease: Lease, stats: ShardStats) -> bool:
        """Every line of the shard has a result: compact them, drop the lease, add the statistics.

        The last shard ends the job in the same step. Returns whether this ended the job. Raises `LeaseLost`.
        A shard of a cancelled job gets `cancelled` errors for what is missing.
        """

    def give_up(self, lease: Lease, why: str) -> bool:
        """Take a shard out of its job because nobody can run it: its input is damaged, say. Its results so far stay.

        The job goes on without the shard's missing lines, and ends as `failed` with `why` as its error. Returns whether
        this ended the job. Raises `LeaseLost`.
        """

    def stranded(self, model: str, limit: int, expired_only: bool = False) -> list[ShardRef]:
        """Shards of this model's unfinished jobs that nobody holds: never leased, released, or their lease expired.

        With `expired_only`, just those whose expired lease this call drops: no hint announces them any more, while
        the others usually have one that still waits in the queue.

        Expired leases are dropped by this call; a job whose cancellation waited for them ends, and one whose deadline
        has passed is ended as `cancel` would end it, its missing lines as `expired`.

        A shard that takes its workers down is narrowed: after two silent workers it is run alone in one, then the
        lines that took that one down are run an eighth at a time, then one at a time; a line that was alone in two
        workers that fell silent gets a `worker_lost` error, and the others go on. A worker that turns out to be alive
        (it was cut off, or frozen, and comes back with its old lease) does not count.
        """

    def add_timeline(self, job_id: str, sample: TimelineSample) -> None:
        """Append a sample; the store keeps about the last hour of them."""

    def report_worker(self, report: WorkerReport, ttl_seconds: float) -> None:
        """Publish a worker's state; without a new one it counts as lost after `ttl_seconds`.

        A server that is full keeps the latest one that it has for as long, and `StoreFull` is raised.
        """

    def forget_worker(self, worker_id: str) -> None:
        """Remove a worker that stops in an orderly way."""

    def workers(self) -> list[WorkerReport]:
        """Workers that reported within their time to live, by model, host and pid."""

    def lost_workers(self) -> list[WorkerReport]:
        """Workers that have fallen silent without a word, for `LOST_SECONDS` from then: their last report as `lost`."""

    def publish_model(self, card: ModelCard) -> None:
        """Make a served model's facts known to clients."""

    def model(self, name: str) -> ModelCard | None:
        """The facts of a model that some worker has served, or None."""
