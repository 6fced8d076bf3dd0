"""Taking up a `run` that was interrupted."""

from __future__ import annotations

from jobs.errors import JobNotFound, StoreDamaged
from jobs.records.job import Job, JobState
from jobs.stores.protocol import JobStore

_UNFINISHED = frozenset({JobState.QUEUED, JobState.IN_PROGRESS})


def job_to_resume(store: JobStore, fingerprint: str, *, undelivered: bool) -> Job | None:
    """The job that an earlier, interrupted run made of the same file and options; None to make one anew.

    Args:
        undelivered: A completed job counts as well, because its results never reached their file. That is so in a
            store of our own, which is removed once they have. Lines of it whose results are gone are run again.
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
