"""Exit codes of all commands."""

from __future__ import annotations

from enum import IntEnum

from jobs.errors import JobNotFound, QwenBatchError, StoreDamaged, StoreFull, StoreUnavailable
from jobs.records.job import Job, JobState


class ExitCode(IntEnum):
    """All exit codes. Only commands that wait for a job use 5 and, for failed lines, 1."""

    DONE = 0
    FAILED_LINES = 1  # the job is completed, but some of its lines have an error
    UNHEALTHY = 1  # `worker --health`: no worker of this machine is alive
    INVALID_INPUT = 2  # usage, a prompt file, a model, an output path, or a job in the wrong state
    NO_SUCH_JOB = 3
    STORE_UNAVAILABLE = 4  # cannot be reached, refuses the password, is full, or is no Redis server
    JOB_NOT_COMPLETED = 5  # cancelled, expired or failed; `run`: its workers cannot work
    STORE_DAMAGED = 6  # a record of the store is damaged, or results are gone from it
    NOT_LOADED = 7  # `worker`: an unexpected error ended it while it loaded its model
    INTERRUPTED = 130  # Ctrl-C


def code_of_error(error: QwenBatchError) -> ExitCode:
    """Return the exit code for an error."""
    if isinstance(error, JobNotFound):
        return ExitCode.NO_SUCH_JOB
    if isinstance(error, StoreUnavailable | StoreFull):
        return ExitCode.STORE_UNAVAILABLE
    if isinstance(error, StoreDamaged):
        return ExitCode.STORE_DAMAGED
    return ExitCode.INVALID_INPUT


def code_of_job(job: Job) -> ExitCode:
    """Return the exit code for an ended job."""
    if job.state is not JobState.COMPLETED:
        return ExitCode.JOB_NOT_COMPLETED
    return ExitCode.FAILED_LINES if job.failed else ExitCode.DONE
