"""The facets of the store that clients use: submit jobs, read jobs, control jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from jobs.errors import QwenBatchError
from jobs.records.completion import Completion
from jobs.records.job import Job, JobCounts, NewJob, ShardRef
from jobs.records.prompt import Prompt
from jobs.records.shard_stats import TimelineSample
from jobs.stats.history import History
from jobs.stats.stats import JobStats
from jobs.stores.packing import PackedPrompts


class Submissions(Protocol):
    """Submits jobs, and remembers which job a submission key or a `run` belongs to."""

    def create(self, spec: NewJob) -> None:
        """Store a new job in state `validating`. Call `add_shard` for each shard next, then `open`."""

    def add_shard(self, shard: ShardRef, prompts: Sequence[Prompt], known: Sequence[Completion] = ()) -> None:
        """Store one shard's lines, compressed.

        Args:
            known: Completions (no errors) of lines that need not run. They count as `completed` and as `reused`.
        """

    def add_packed_shard(self, shard: ShardRef, prompts: PackedPrompts) -> None:
        """Store one shard's lines, which are compressed already."""

    def open(self, job_id: str) -> list[ShardRef]:
        """Put a job whose shards are all stored in state `queued`. A job without lines becomes `completed`.

        Returns the shards to hint.
        """

    def find(self, key: str) -> Job | None:
        """Return the job that holds this submission key, or None if it no longer stands (`Job.stands`)."""

    def claim(self, job_id: str) -> str:
        """Claim the submission key in the job's spec; call before `open`. Returns the id of the job that holds the key.

        If another job holds the key, delete this job and do not open it.

        If several jobs claim a key at once, one of them gets it. If the holder is still being submitted, the call waits
        for it. After two seconds the holder's client counts as gone, and the holder is deleted.
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

    def find_run(self, fingerprint: str) -> str | None:
        """Return the id that `remember_run` stored under this fingerprint, or None if that job no longer exists."""

    def remember_run(self, fingerprint: str, job_id: str) -> None:
        """Store which job `qwen-batch run` made of a file, so that it can continue a killed run."""


class JobReader(Protocol):
    """Reads jobs, their statistics and their results."""

    def get(self, job_id: str) -> Job:
        """Return the job in its current state."""

    def get_each(self, job_ids: Sequence[str]) -> list[Job | QwenBatchError]:
        """Return the jobs in the order of their ids, by one read.

        In place of a job that is missing or damaged, the list has the error that `get` raises.
        """

    def newest(self, limit: int = 100, part: str = "") -> list[Job]:
        """Return the newest `limit` jobs whose ids begin or end with `part`, newest first.

        With a part, the call reads the ids of all jobs, but only the records of the jobs that it returns.
        """

    def unfinished(self, limit: int) -> list[JobCounts]:
        """Return those of the newest `limit` jobs that have not ended, newest first.

        The call reads the state of each of the newest jobs, and only the counts of the unfinished ones.
        """

    def stats(self, job_id: str) -> JobStats:
        """Return the job's statistics. They come from counters, so no result is read."""

    def timeline(self, job_id: str, newest: int | None = None) -> list[TimelineSample]:
        """Return samples of about one second each, oldest first, for plots.

        Args:
            job_id: Id of the job.
            newest: Max number of samples; the newest ones are returned. None for all that the store keeps.
        """

    def history(self, job_id: str) -> History:
        """Return how much workers wrote over the whole life of the job."""

    def results(self, job_id: str) -> Iterator[Completion]:
        """Iterate over the finished lines in input order, in constant memory. Works while the job runs, too."""

    def lines(self, shard: ShardRef, text: str = "") -> list[tuple[Prompt, Completion | None]]:
        """Return a shard's lines in input order, each with its result, or None if it has no result yet.

        Args:
            shard: The shard.
            text: A casefolded text, or empty. If the JSON of no line and no result has this text, the list may be
                empty. So a search need not decode most shards.
        """

    def failed_shards(self, job_id: str) -> Iterator[ShardRef]:
        """Iterate over the job's shards that have failed lines, in input order. No result is read."""


class JobControl(Protocol):
    """Changes the course of jobs: cancels, pauses, resumes, retries and deletes them."""

    def request_cancel(self, job_id: str) -> Job:
        """Ask for the end of a job. Returns the job after the call; a job that has ended does not change.

        Workers notice the request when they renew their leases. Lines of shards that nobody runs become `cancelled`
        errors at once. When no shard is leased, the job ends at once.
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
