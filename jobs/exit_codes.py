"""Exit codes of all commands, and of the worker's process."""

from __future__ import annotations

from enum import IntEnum

from jobs.errors import JobNotFound, QwenBatchError, StoreDamaged, StoreFull, StoreUnavailable
from jobs.records.job import Job, JobState


class ExitCode(IntEnum):
    """All exit codes. Only commands that wait for a job use 5."""

    DONE = 0
    FAILED = 1  # some lines have an error; `worker`: the engine failed; `worker --health`: no worker is alive here
    INVALID_INPUT = 2  # invalid usage, prompt file, model, output path or job state
    NO_SUCH_JOB = 3
    STORE_UNAVAILABLE = 4  # not reachable, refuses the password, full, or not a Redis server
    JOB_NOT_COMPLETED = 5  # cancelled, expired or failed; in `run`, the workers failed
    STORE_DAMAGED = 6  # the store has a damaged record or has lost results
    NOT_LOADED = 7  # `worker`: an unexpected error while it loaded its model
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
    return ExitCode.FAILED if job.failed else ExitCode.DONE
