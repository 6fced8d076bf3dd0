"""What a client sees of a batch while its job goes on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.batches.status import view_of
from jobs.records.job import Job, JobState
from testing.jobs.sample_jobs import new_job
from tests.jobs.projects.conftest import new_batch


def job(state: JobState, completed: int = 0, failed: int = 0, **more: Any) -> Job:
    facts: dict[str, Any] = {"cancel_requested": False, "total_input_tokens": 7, "total_output_tokens": 8}
    facts |= {"shards_done": 0, "first_step_at": None, "last_line_at": None, "ended_at": None, "error": None} | more
    return Job(new_job(), state, completed=completed, failed=failed, **facts)


def batch(phase: BatchPhase, **more: Any) -> Batch:
    return structs.replace(new_batch(), phase=phase, **more)


@pytest.mark.parametrize(
    ("seen", "its_job", "status"),
    [
        (batch(BatchPhase.VALIDATING), None, "validating"),
        (batch(BatchPhase.VALIDATING, cancelling_at=5.0), None, "cancelling"),
        (batch(BatchPhase.SUBMITTED), job(JobState.QUEUED), "in_progress"),
        (batch(BatchPhase.SUBMITTED), job(JobState.IN_PROGRESS), "in_progress"),
        (batch(BatchPhase.SUBMITTED), job(JobState.COMPLETED, ended_at=9.0), "finalizing"),
        (batch(BatchPhase.SUBMITTED), job(JobState.EXPIRED, ended_at=9.0), "finalizing"),
        (batch(BatchPhase.SUBMITTED, cancelling_at=5.0), job(JobState.IN_PROGRESS), "cancelling"),
        (batch(BatchPhase.SUBMITTED, cancelling_at=5.0), job(JobState.CANCELLED, ended_at=9.0), "cancelling"),
        (batch(BatchPhase.FAILED), None, "failed"),
        (batch(BatchPhase.COMPLETED), None, "completed"),
        (batch(BatchPhase.EXPIRED), None, "expired"),
        (batch(BatchPhase.CANCELLED, cancelling_at=5.0), None, "cancelled"),
    ],
)
def test_the_status_follows_the_record_and_the_job(seen: Batch, its_job: Job | None, status: str) -> None:
    assert view_of(seen, its_job).status == status


def test_counts_are_those_of_the_job_until_the_files_are_written() -> None:
    assert view_of(batch(BatchPhase.SUBMITTED), job(JobState.IN_PROGRESS, 3, 1)).counts == Counts(3, 1, 7, 8)
    ended = batch(BatchPhase.COMPLETED, counts=Counts(4, 2, 70, 80))
    assert view_of(ended, None).counts == Counts(4, 2, 70, 80)
