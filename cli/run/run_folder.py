"""The folder and the job of an unfinished `run`, for the same command later.

The folder holds the server's data and the workers' logs until the results are written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cli.run.state_lock import StateLock
from jobs.errors import InvalidInput, JobNotFound, StoreDamaged
from jobs.records.job import Job, JobState
from jobs.stores.protocol import JobStore

KEPT_RUNS = 10
_UNFINISHED = frozenset({JobState.QUEUED, JobState.IN_PROGRESS})


def run_folder(state_folder: Path, fingerprint: str) -> Path:
    """Return the folder for a fingerprint. Each fingerprint has its own folder."""
    return state_folder / "runs" / fingerprint


def job_to_resume(store: JobStore, fingerprint: str, *, undelivered: bool) -> Job | None:
    """Return the job of an earlier, interrupted run of the same file and options. None if a new job is needed.

    Args:
        undelivered: True if a completed job counts as well, because its results never reached their file. This holds
            for a private store, which is deleted once the results are written. Lines with lost results run again.
    """
    job_id = store.submissions.find_run(fingerprint)
    if job_id is None:
        return None
    try:
        job = store.jobs.get(job_id)
        if job.cancel_requested or job.state in _UNFINISHED:
            return None if job.cancel_requested else job
        if undelivered and job.state is JobState.COMPLETED:
            return store.jobs.get(job_id) if store.control.reopen_lost(job_id) else job
    except (JobNotFound, StoreDamaged):  # the job cannot be read, or its lost results cannot be computed again
        return None
    return None


def prune_runs(state_folder: Path) -> list[Path]:
    """Remove the folders of unfinished runs, except the last `KEPT_RUNS` and the folders in use.

    Returns the removed folders.
    """
    folders = sorted((state_folder / "runs").glob("*"), key=_last_used, reverse=True)
    return [folder for folder in folders[KEPT_RUNS:] if _remove_if_free(folder)]


def _last_used(folder: Path) -> float:
    """Return the time of last use in seconds since the epoch. 0 if another process has just removed the folder."""
    try:
        return (folder / "lock").stat().st_mtime
    except OSError:
        return 0.0


def _remove_if_free(folder: Path) -> bool:
    try:
        with StateLock(folder):
            shutil.rmtree(folder, ignore_errors=True)
    except InvalidInput:
        return False
    return True
