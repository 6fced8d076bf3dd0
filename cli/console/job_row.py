"""The fields of a job in `list --json` and in each line of `watch --json`."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.records.job import Job, JobState


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job's main fields. `status --json` has the same names, and the full statistics."""

    id: str
    state: JobState
    cancel_requested: bool
    paused: bool
    model: str
    source: str  # the prompt file's name
    created_at: float  # seconds since the epoch
    ended_at: float | None
    deadline_at: float | None
    priority: int
    total: int  # lines
    completed: int
    failed: int
    reused: int  # completed lines whose completions come from an earlier job
    total_input_tokens: int
    total_output_tokens: int
    error: str | None

    @classmethod
    def of(cls, job: Job) -> JobRow:
        """Return the row of one job."""
        return cls(**facts_of(job))


def facts_of(job: Job) -> dict[str, Any]:
    """Return the fields of a `JobRow`, for subclasses that add fields."""
    return {
        "id": job.id,
        "state": job.state,
        "cancel_requested": job.cancel_requested,
        "paused": job.paused,
        "model": job.spec.model,
        "source": job.spec.source,
        "created_at": job.spec.created_at,
        "ended_at": job.ended_at,
        "deadline_at": job.deadline_at,
        "priority": job.spec.priority,
        "total": job.spec.num_lines,
        "completed": job.completed,
        "failed": job.failed,
        "reused": job.reused,
        "total_input_tokens": job.total_input_tokens,
        "total_output_tokens": job.total_output_tokens,
        "error": job.error,
    }


def state_text(job: Job) -> str:
    """Return the job's state for people. A pending request has its own word, such as `cancelling` or `paused`."""
    if job.state.ended:
        return job.state.value
    if job.ending:
        return "cancelling" if job.cancel_requested else "expiring"
    return "paused" if job.paused else job.state.value
