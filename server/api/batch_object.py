"""The shape of a batch, as OpenAI's clients read it."""

from __future__ import annotations

import msgspec

from jobs.batches.batch import BatchPhase, Counts
from jobs.batches.status import BatchView


class BatchErrorObject(msgspec.Struct, frozen=True):
    """One reason why a batch failed."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(msgspec.Struct, frozen=True):
    """All reasons why a batch failed."""

    data: list[BatchErrorObject]
    object: str = "list"


class RequestCounts(msgspec.Struct, frozen=True):
    """Number of lines. `total` is 0 until the file has been checked."""

    total: int
    completed: int
    failed: int


class BatchUsage(msgspec.Struct, frozen=True):
    """Tokens of all completed lines."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class BatchObject(msgspec.Struct, frozen=True):
    """A batch. Times are whole seconds since the epoch; null stands for a moment that has not come."""

    id: str
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None
    model: str | None
    object: str = "batch"


def object_of(view: BatchView) -> BatchObject:
    """Return a batch as clients see it."""
    batch, counts = view.batch, view.counts

    def ended_as(phase: BatchPhase) -> int | None:
        return _whole(batch.ended_at) if batch.phase is phase else None

    errors = [BatchErrorObject(error.code, error.line, error.message, error.param) for error in batch.errors]
    return BatchObject(
        id=batch.id,
        endpoint=batch.endpoint,
        errors=BatchErrors(errors) if errors else None,
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        status=view.status,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        created_at=int(batch.created_at),
        in_progress_at=_whole(batch.in_progress_at),
        expires_at=int(batch.expires_at),
        finalizing_at=_whole(_not_before(view.finalizing_at, batch.in_progress_at)),
        completed_at=ended_as(BatchPhase.COMPLETED),
        failed_at=ended_as(BatchPhase.FAILED),
        expired_at=ended_as(BatchPhase.EXPIRED),
        cancelling_at=_whole(batch.cancelling_at),
        cancelled_at=ended_as(BatchPhase.CANCELLED),
        request_counts=RequestCounts(batch.total, counts.completed, counts.failed),
        usage=_usage(counts),
        metadata=batch.metadata,
        model=batch.model,
    )


def _usage(counts: Counts) -> BatchUsage:
    return BatchUsage(
        counts.input_tokens,
        {"cached_tokens": 0},
        counts.output_tokens,
        {"reasoning_tokens": 0},
        counts.input_tokens + counts.output_tokens,
    )


def _not_before(moment: float | None, earlier: float | None) -> float | None:
    """Return a moment. If another machine's clock makes it seem too early, return the earlier moment."""
    return moment if moment is None or earlier is None else max(moment, earlier)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
