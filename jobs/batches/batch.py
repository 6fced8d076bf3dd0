"""The record of a batch of the HTTP service."""

from __future__ import annotations

from enum import StrEnum

import msgspec

NATIVE = "native"  # endpoint of a batch whose lines have our own format; the batch names their model


class BatchPhase(StrEnum):
    """Stored state of a batch. The status that a client sees also depends on the job (`jobs/batches/status.py`)."""

    VALIDATING = "validating"  # the file has not been checked yet, so there is no job
    SUBMITTED = "submitted"  # the job runs or waits, and the files of results are not written yet
    FAILED = "failed"  # the file was refused
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True if the batch never changes again."""
        return self not in (BatchPhase.VALIDATING, BatchPhase.SUBMITTED)


class BatchError(msgspec.Struct, frozen=True):
    """One reason why a batch failed."""

    code: str
    message: str
    line: int | None = None  # number of the line in the input file, from 1
    param: str | None = None  # key of the line that is at fault


class Counts(msgspec.Struct, frozen=True):
    """Lines and tokens of a batch whose files are written, counted from these files."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0  # prompt tokens of the completed lines
    output_tokens: int = 0


class Batch(msgspec.Struct, frozen=True):
    """Facts of one batch. Times are seconds since the epoch."""

    id: str
    endpoint: str  # such as /v1/chat/completions, or `NATIVE`
    input_file_id: str
    completion_window: str  # as the client said it, such as 24h
    created_at: float
    expires_at: float  # `created_at` plus the completion window
    revision: int = 1  # rises with every change; `BatchRecords.save` compares it
    phase: BatchPhase = BatchPhase.VALIDATING
    metadata: dict[str, str] | None = None
    priority: int = 0  # priority of the batch's job
    reuse: bool = False  # True: lines that an earlier job of the project has completed do not run again
    output_expires_seconds: int | None = None  # lifetime of the output files; None for the default
    model: str | None = None  # the served model; for `NATIVE` at first the wanted one
    job_id: str | None = None
    total: int = 0  # number of lines
    counts: Counts = Counts()
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: tuple[BatchError, ...] = ()
    in_progress_at: float | None = None
    cancelling_at: float | None = None  # set when a client asks for the end
    finalizing_at: float | None = None
    ended_at: float | None = None

    @property
    def cancel_requested(self) -> bool:
        """True if a client has asked for the end."""
        return self.cancelling_at is not None
