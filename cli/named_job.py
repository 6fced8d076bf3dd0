"""Find the job that a user names, by its id or by a part of the id."""

from __future__ import annotations

from cli.console.console import Console
from jobs.errors import InvalidInput, JobNotFound
from jobs.harmless import harmless
from jobs.records.job import Job
from jobs.stores.protocol import JobStore

MIN_CHARS = 4  # the random end of an id has as many
_MAX_SHOWN = 5


def job_to_read(store: JobStore, said: str) -> str:
    """Return the id of the job for a command that only reads. The beginning or the end of the id is enough.

    Args:
        store: The store.
        said: The id, or at least `MIN_CHARS` characters of its beginning or end.

    Raises:
        JobNotFound: No job has this id or this part of an id.
        InvalidInput: Several jobs have this part of an id.
    """
    if _exists(store, said):
        return said
    return _only_job(store, said).spec.id


def job_to_change(store: JobStore, said: str, console: Console) -> str:
    """Return the id of the job for a command that changes or deletes a job. The end of the id is enough.

    The end of an id is random, so a typing error hardly ever names another job. Its beginning is a date: if one job is
    left, the beginning would name that job and not the deleted one that the user means. A job of an HTTP client's batch
    needs its whole id.

    Args:
        store: The store.
        said: The id, or at least `MIN_CHARS` characters of its end.
        console: Gets the whole id if `said` is a part of it.

    Raises:
        JobNotFound: No job has this id or this part of an id.
        InvalidInput: Several jobs have this part of an id, or the part is not enough to change the job.
    """
    if _exists(store, said):
        return said
    job = _only_job(store, said)
    if job.spec.project is not None:
        raise InvalidInput(f"{said} belongs to a batch of the HTTP service.", f"Write its whole id: {job.spec.id}.")
    if not job.spec.id.endswith(said):
        raise InvalidInput(
            f"{said} is only the beginning of an id, which is not enough to change a job.",
            f"Write the whole id or its end: {job.spec.id}.",
        )
    console.say(f"{said} is {harmless(job.spec.id)}.")
    return job.spec.id


def _exists(store: JobStore, job_id: str) -> bool:
    """Return whether the store has a job with this whole id, damaged or not."""
    return not isinstance(store.jobs.get_each([job_id])[0], JobNotFound)


def _only_job(store: JobStore, part: str) -> Job:
    if len(part) < MIN_CHARS:
        raise JobNotFound(part)
    jobs = store.jobs.newest(_MAX_SHOWN + 1, part)
    if not jobs:
        raise JobNotFound(part)
    if len(jobs) > 1:
        names = ", ".join(harmless(job.spec.id) for job in jobs[:_MAX_SHOWN])
        more = " and more" if len(jobs) > _MAX_SHOWN else ""
        raise InvalidInput(f"Several jobs have {part} in their id: {names}{more}.", "Write more of the id.")
    return jobs[0]
