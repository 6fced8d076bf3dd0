"""Taking up a `run` that was interrupted."""

from __future__ import annotations

from jobs.errors import JobNotFound
from jobs.job import Job, JobState
from jobs.stores.protocol import JobStore

_UNFINISHED = frozenset({JobState.QUEUED, JobState.IN_PROGRESS})


def job_to_resume(store: JobStore, fingerprint: str, *, undelivered: bool) -> Job | None:
    """The job that an earlier, interrupted run made of the same file and options; None to make one anew.

    Args:
        undelivered: A completed job counts as well, because its results never reached their file. That is so in a
            store of our own, which is removed once they have.
    """
    job_id = store.find_run(fingerprint)
    if job_id is None:
        return None
    try:
        job = store.job(job_id)
    except JobNotFound:
        return None
    if job.cancel_requested:
        return None
    if job.state in _UNFINISHED or (undelivered and job.state is JobState.COMPLETED):
        return job
    return None
