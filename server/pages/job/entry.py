"""One job as the pages show it: a batch with its job, or a job of the command line."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.batches.batch import Batch
from jobs.batches.status import view_of
from jobs.records.job import Job, JobState
from jobs.stats import figures

# Each state has a sign beside its word, so that nobody needs to tell colours apart.
SIGNS = {
    "validating": "◌",
    "queued": "○",
    "in progress": "●",
    "paused": "‖",
    "cancelling": "◍",
    "expiring": "◍",
    "finalizing": "◕",
    "completed": "✓",
    "failed": "✕",
    "expired": "⧗",
    "cancelled": "⊘",
}
STATES = tuple(SIGNS)
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True)
class Entry:
    """A line of the list of jobs."""

    id: str  # id of the batch, or of the job if it came from the command line
    name: str  # name of the file
    state: str  # one of `STATES`
    model: str | None  # None until the file of a batch has been checked
    created_at: float  # seconds since the epoch
    ended_at: float | None
    total: int  # lines; 0 until the file of a batch has been checked
    completed: int
    failed: int
    priority: int
    batch: Batch | None  # None for a job of the command line
    job: Job | None  # None if the job does not exist yet, was deleted, or was not read

    @property
    def sign(self) -> str:
        """The sign of the state."""
        return SIGNS[self.state]

    @property
    def done(self) -> int:
        """Number of lines with a result."""
        return self.completed + self.failed

    @property
    def share(self) -> float:
        """Share of the lines that have a result, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def progress(self) -> str:
        """The share as text. It is 100% only if every line has a result."""
        return figures.progress(self.done, self.total)

    @property
    def ended(self) -> bool:
        """True if the job never changes again by itself."""
        return self.state in _ENDED

    @property
    def can_pause(self) -> bool:
        """True if the job can be paused."""
        return self._runs and self.state in ("queued", "in progress")

    @property
    def can_resume(self) -> bool:
        """True if the job is paused."""
        return self._runs and self.state == "paused"

    @property
    def can_cancel(self) -> bool:
        """True if the job can be ended early."""
        return self.state in ("validating", "queued", "in progress", "paused") and (
            self.batch is not None or self.state != "validating"
        )

    @property
    def can_run_again(self) -> bool:
        """True if the job has ended and has failed lines to run again."""
        return self.ended and self.failed > 0

    @property
    def _runs(self) -> bool:
        return self.job is not None and self.job.state in (JobState.QUEUED, JobState.IN_PROGRESS)


def entry_of_job(job: Job) -> Entry:
    """Return the entry of a job of the command line."""
    spec = job.spec
    return Entry(
        id=job.id,
        name=spec.source,
        state=_state_of(job),
        model=spec.model,
        created_at=spec.created_at,
        ended_at=job.ended_at,
        total=spec.num_lines,
        completed=job.completed,
        failed=job.failed,
        priority=spec.priority,
        batch=None,
        job=job,
    )


def entry_of_batch(batch: Batch, job: Job | None, name: str) -> Entry:
    """Return the entry of a batch.

    Args:
        batch: The batch's record.
        job: Its job, read after the record. None if it has none, or if the job was not read.
        name: Name of its file.
    """
    view = view_of(batch, job)
    state = view.status.replace("_", " ")
    if job is not None and view.status == "in_progress":
        state = _state_of(job)
    return Entry(
        id=batch.id,
        name=name,
        state=state,
        model=batch.model,
        created_at=batch.created_at,
        ended_at=batch.ended_at,
        total=batch.total,
        completed=view.counts.completed,
        failed=view.counts.failed,
        priority=batch.priority,
        batch=batch,
        job=job,
    )


def _state_of(job: Job) -> str:
    if job.state.ended:
        return job.state.value
    if job.ending:
        return "cancelling" if job.cancel_requested else "expiring"
    return "paused" if job.paused else job.state.value.replace("_", " ")
