"""Resumption of an interrupted `run`."""

from __future__ import annotations

from jobs.errors import JobNotFound, StoreDamaged
from jobs.records.job import Job, JobState
from jobs.stores.protocol import JobStore

_UNFINISHED = frozenset({JobState.QUEUED, JobState.IN_PROGRESS})


def job_to_resume(store: JobStore, fingerprint: str, *, undelivered: bool) -> Job | None:
    """Return the job of an earlier, interrupted run of the same file and options. None if a new job is needed.

    Args:
        undelivered: True if a completed job counts as well, because its results never reached their file. This holds
            for a private store, which is deleted once the results are written. Lines with lost results run again.
    """
    job_id = store.find_run(fingerprint)
    if job_id is None:
        return None
    try:
        job = store.job(job_id)
        if job.cancel_requested or job.state in _UNFINISHED:
            return None if job.cancel_requested else job
        if undelivered and job.state is JobState.COMPLETED:
            return store.job(job_id) if store.reopen_lost(job_id) else job
    except (JobNotFound, StoreDamaged):  # StoreDamaged: nobody can tell what it was, or make its results again
        return None
    return None
