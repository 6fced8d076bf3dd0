"""Records of a job: its spec, state, shards and leases."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults
from jobs.records.sampling import SamplingSettings

Format = Literal["native", "openai"]


class JobState(StrEnum):
    """State of a job. A pause and a request to cancel are flags, not states (`Job.paused`, `Job.cancel_requested`)."""

    VALIDATING = "validating"  # `submit` is still storing its shards
    QUEUED = "queued"  # no worker has leased one of its shards since it was opened
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"  # every line has a result; some results may be errors
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # the job's deadline passed
    FAILED = "failed"  # a shard could not run: its input is damaged or gone

    @property
    def ended(self) -> bool:
        """True if the job has ended. Only `retry` or an extension opens it again."""
        return self in _ENDED


_ENDED = frozenset({JobState.COMPLETED, JobState.CANCELLED, JobState.EXPIRED, JobState.FAILED})


class ShardRef(msgspec.Struct, frozen=True, order=True):
    """Reference to one shard: consecutive lines of one job that a worker takes together."""

    job_id: str
    index: int  # from 0


class NewJob(msgspec.Struct, frozen=True):
    """A job's spec, which `submit` writes. Afterwards, only `extend` changes it."""

    id: str
    model: str  # the served model's name, which is its queue's name too
    format: Format
    defaults: SamplingSettings  # the options of `submit`
    seed: int  # source of the seed of each line without its own
    num_lines: int
    shard_size: int  # lines per shard; the last shard may have fewer
    source: str  # the file's name as the user gave it
    created_at: float  # seconds since the epoch
    priority: int = 0  # a job with a higher priority runs first
    deadline_seconds: float | None = None  # max seconds from `open` to the end; then the job ends as `expired`
    added_lines: int = 0  # number of lines in `num_lines` that `extend` added; they are in shards of their own
    added_shards: int = 0
    has_columns: bool = False  # True if lines have columns or a source, which results bring back
    line_defaults: LineDefaults = NO_LINE_DEFAULTS  # further options of `submit` for lines that do not say
    column_types: bytes | None = None  # Arrow types of the source's columns, under their names in a table of results
    key: str | None = None  # submission key: submissions with the same key are one job (`Submissions.claim`)
    project: str | None = None  # the project of the batch that the job belongs to
    batch: str | None = None  # id of the batch that the job belongs to; None for a job of the command line

    @property
    def num_shards(self) -> int:
        """Number of shards, including those of added lines."""
        return -(-(self.num_lines - self.added_lines) // self.shard_size) + self.added_shards


class Job(msgspec.Struct, frozen=True):
    """A job's current state and counts. `completed` + `failed` is always the number of lines with a result."""

    spec: NewJob
    state: JobState
    cancel_requested: bool
    completed: int  # lines with a completion
    failed: int  # lines with an error
    total_input_tokens: int  # sum over completed lines
    total_output_tokens: int
    shards_done: int
    first_step_at: float | None  # time of the first lease; seconds since the epoch, by the store's clock
    last_line_at: float | None  # time when a worker last wrote a line
    ended_at: float | None
    error: str | None  # reason why the job failed or will fail
    paused: bool = False  # True: no worker may lease its shards
    deadline_at: float | None = None  # seconds since the epoch, by the store's clock
    deadline_passed: bool = False  # True: the job ends early because of its deadline
    reused: int = 0  # completed lines whose completion came from an earlier job

    @property
    def id(self) -> str:
        """Id of the job."""
        return self.spec.id

    @property
    def column_types(self) -> bytes | None:
        """`NewJob.column_types`, or None if the job has lines of another source."""
        return None if self.spec.added_lines else self.spec.column_types

    @property
    def stands(self) -> bool:
        """True if the job is queued, in progress or completed, and not ending early.

        Submitting the same file again then returns this job.
        """
        return self.state in (JobState.QUEUED, JobState.IN_PROGRESS, JobState.COMPLETED) and not self.ending

    @property
    def ending(self) -> bool:
        """True if the job was cancelled or is past its deadline. No worker starts its remaining lines."""
        return self.cancel_requested or self.deadline_passed

    @property
    def done(self) -> int:
        """Number of lines with a result."""
        return self.completed + self.failed


class JobCounts(msgspec.Struct, frozen=True):
    """Model, state and counts of lines of one job, for sums over many jobs."""

    id: str
    model: str
    state: JobState
    num_lines: int
    completed: int  # lines with a completion
    failed: int  # lines with an error

    @classmethod
    def of(cls, job: Job) -> JobCounts:
        """Return the counts of a job."""
        return cls(job.id, job.spec.model, job.state, job.spec.num_lines, job.completed, job.failed)

    @property
    def waiting(self) -> int:
        """Number of lines without a result."""
        return self.num_lines - self.completed - self.failed


class Lease(msgspec.Struct, frozen=True):
    """A worker's expiring right to run one shard. A shard has one holder, and may have a backup beside it.

    `token` is a fencing token: it rises with every lease of the shard, and a write with an outdated token changes
    nothing. Source: Kleppmann, "How to do distributed locking", 2016.
    """

    shard: ShardRef
    worker_id: str
    token: int
    attempt: int  # number of the shard's leases, including this one
    lines_at_a_time: int | None = None  # max lines to run together of a quarantined shard; None for no limit
    backup: bool = False  # True: this lease ends with the holder's, and releases no shard


class LeaseStatus(StrEnum):
    """Result of a lease's renewal, which tells the worker what to do."""

    HELD = "held"
    CANCELLED = "cancelled"  # still held, but the job ends early: abort its sequences
    PAUSED = "paused"  # still held, but the job is paused: give the shard back
    LOST = "lost"  # no longer held: drop the shard and write nothing
