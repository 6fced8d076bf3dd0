"""A job, its states and its pieces."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from jobs.records.sampling import SamplingSettings

Format = Literal["native", "openai"]


class JobState(StrEnum):
    """Where a job is in its life. A request (to cancel) is not a state: `Job.cancel_requested`."""

    VALIDATING = "validating"  # `submit` is still storing its shards
    QUEUED = "queued"  # no worker has begun a shard of it
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"  # every line has a result, some may be errors
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"  # a shard could not be run: its input is damaged or gone

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self in _ENDED


_ENDED = frozenset({JobState.COMPLETED, JobState.CANCELLED, JobState.EXPIRED, JobState.FAILED})


class ShardRef(msgspec.Struct, frozen=True, order=True):
    """Names one shard: consecutive lines of one job that a worker takes together."""

    job_id: str
    index: int  # from 0


class NewJob(msgspec.Struct, frozen=True):
    """What `submit` knows of a job before any of it runs; only `extend` changes it afterwards."""

    id: str
    model: str  # the served model's name, which is its queue's name too
    format: Format
    defaults: SamplingSettings  # the options of `submit`
    seed: int  # decides the seed of every line that names none
    num_lines: int
    shard_size: int  # lines a shard; the last one may be shorter
    source: str  # the file's name as given, for people
    created_at: float  # seconds since the epoch
    priority: int = 0  # jobs with a higher one go first
    deadline_seconds: float | None = None  # from `open` on; then the job ends as `expired`
    added_lines: int = 0  # of `num_lines`, those that `extend` added; they have shards of their own
    added_shards: int = 0
    key: str | None = None  # submissions with the same one are the same job (`JobStore.claim`)

    @property
    def num_shards(self) -> int:
        return -(-(self.num_lines - self.added_lines) // self.shard_size) + self.added_shards


class Job(msgspec.Struct, frozen=True):
    """A job as it stands now. `completed` + `failed` lines have a result; counts always equal lines."""

    spec: NewJob
    state: JobState
    cancel_requested: bool
    completed: int  # lines with a completion
    failed: int  # lines with an error
    total_input_tokens: int  # over completed lines
    total_output_tokens: int
    shards_done: int
    first_step_at: float | None  # seconds since the epoch, by the store's clock
    last_line_at: float | None
    ended_at: float | None
    error: str | None  # why it failed, or will
    paused: bool = False  # nobody is to work on it for now
    deadline_at: float | None = None  # seconds since the epoch, by the store's clock
    deadline_passed: bool = False  # it ends because of that
    reused: int = 0  # completed lines whose completion was an earlier job's

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def stands(self) -> bool:
        """Whether the same submission need not be made again: it waits, runs or is completed."""
        return self.state in (JobState.QUEUED, JobState.IN_PROGRESS, JobState.COMPLETED) and not self.ending

    @property
    def ending(self) -> bool:
        """Whether it ends, or has ended, before its lines are done: they are not to be started any more."""
        return self.cancel_requested or self.deadline_passed

    @property
    def done(self) -> int:
        """Lines that have a result."""
        return self.completed + self.failed


class Lease(msgspec.Struct, frozen=True):
    """A worker's expiring right to run one shard. There is one at a time, and perhaps a second runner's beside it.

    `token` rises with every lease of the shard: a write with an older one changes nothing (a fencing token; Kleppmann,
    "How to do distributed locking", 2016).
    """

    shard: ShardRef
    worker_id: str
    token: int
    attempt: int  # how many leases this shard has had, this one included
    lines_at_a_time: int | None = None  # None: all. A number: run it alone, it may take its worker down
    backup: bool = False  # a second runner's: it ends with the holder's, and the shard is not given back


class LeaseStatus(StrEnum):
    """What a renewal finds."""

    HELD = "held"
    CANCELLED = "cancelled"  # still held, but the job is to end early: abort its sequences
    PAUSED = "paused"  # still held, but the job is paused: give the shard back
    LOST = "lost"  # expired and maybe taken over: drop the shard, write nothing
