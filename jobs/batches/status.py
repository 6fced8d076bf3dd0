"""The client's view of a batch: the record of the batch together with the state of its job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.records.job import Job

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
_ENDS: dict[BatchPhase, Status] = {
    BatchPhase.FAILED: "failed",
    BatchPhase.COMPLETED: "completed",
    BatchPhase.EXPIRED: "expired",
    BatchPhase.CANCELLED: "cancelled",
}


@dataclass(frozen=True)
class BatchView:
    """A batch at one moment. A later view never has an earlier status or a lower count."""

    batch: Batch
    status: Status
    counts: Counts
    finalizing_at: float | None  # seconds since the epoch


def view_of(batch: Batch, job: Job | None) -> BatchView:
    """Return the view of a batch.

    Args:
        batch: The batch's record.
        job: The batch's job, read after the record. None if it has no job, or if its files are written.
    """
    if batch.phase.ended:
        return BatchView(batch, _ENDS[batch.phase], batch.counts, batch.finalizing_at)
    counts = batch.counts if job is None else _counts_of(job)
    finalizing_at = job.ended_at if job is not None and job.state.ended else None
    status: Status = "validating" if batch.phase is BatchPhase.VALIDATING else "in_progress"
    if batch.cancel_requested:
        status = "cancelling"
    elif finalizing_at is not None:
        status = "finalizing"
    return BatchView(batch, status, counts, finalizing_at)


def _counts_of(job: Job) -> Counts:
    return Counts(job.completed, job.failed, job.total_input_tokens, job.total_output_tokens)
