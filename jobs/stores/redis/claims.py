"""Which job was submitted under which key, so that the same file is not run twice."""

from __future__ import annotations

import time
from contextlib import suppress

from jobs import keys
from jobs.errors import JobConflict, JobNotFound
from jobs.records.job import Job, JobState
from jobs.stores.redis.deletion import Deletion
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer

OPENING_SECONDS = 2.0  # between a client's claim and its `open` there is one command
POLL_SECONDS = 0.05


class Claims:
    """A key and the jobs that want it lie on different nodes of a cluster: a claim is a change of the key alone, made
    only if the key still names the job that was found not to stand.
    """

    def __init__(self, server: RedisServer, reader: JobReader, deletion: Deletion) -> None:
        self._server = server
        self._reader = reader
        self._deletion = deletion

    def find(self, key: str) -> Job | None:
        holder = self._server.run("GET", keys.submission(key))
        job = self._job(holder.decode(errors="replace")) if holder is not None else None
        return job if job is not None and job.stands else None

    def claim(self, job_id: str) -> str:
        key = self._reader.job(job_id).spec.key
        if key is None:
            return job_id
        name = keys.submission(key)
        while not self._server.run("SET", name, job_id, "NX"):
            holder = self._server.run("GET", name)
            if holder is None:
                continue
            known = holder.decode(errors="replace")
            if known == job_id or self._stands(known):
                return str(known)
            if self._server.script("replace", [name], holder, job_id):
                break
        return job_id

    def _stands(self, job_id: str) -> bool:
        """Whether a job that has claimed a key keeps it."""
        deadline = time.monotonic() + OPENING_SECONDS
        while (job := self._job(job_id)) is not None and job.state is JobState.VALIDATING and not job.cancel_requested:
            if time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._deletion.delete(job_id)
            except JobConflict:  # it was opened at this moment
                continue
            except JobNotFound:
                return False
        return job is not None and job.stands

    def _job(self, job_id: str) -> Job | None:
        with suppress(JobNotFound), self._server.damage.skipping():
            return self._reader.job(job_id)
        return None
