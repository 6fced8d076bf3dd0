"""A job on one line: the shape of `list --json` and of each line of `watch --json`."""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.job import Job, JobState


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """Named as in `status --json`, which has the full statistics."""

    id: str
    state: JobState
    cancel_requested: bool
    model: str
    source: str  # the prompt file's name
    created_at: float  # seconds since the epoch
    ended_at: float | None
    total: int  # lines
    completed: int
    failed: int
    total_input_tokens: int
    total_output_tokens: int
    error: str | None

    @classmethod
    def of(cls, job: Job) -> JobRow:
        return cls(**facts_of(job))


def facts_of(job: Job) -> dict[str, Any]:
    """The fields of a `JobRow`, for rows that add fields of their own."""
    return {
        "id": job.id,
        "state": job.state,
        "cancel_requested": job.cancel_requested,
        "model": job.spec.model,
        "source": job.spec.source,
        "created_at": job.spec.created_at,
        "ended_at": job.ended_at,
        "total": job.spec.num_lines,
        "completed": job.completed,
        "failed": job.failed,
        "total_input_tokens": job.total_input_tokens,
        "total_output_tokens": job.total_output_tokens,
        "error": job.error,
    }


def state_text(job: Job) -> str:
    """The state for people: `in_progress`, or what a pending request makes of it."""
    return "cancelling" if job.cancel_requested and not job.state.ended else job.state.value
