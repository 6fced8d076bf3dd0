"""Submission keys: record which job holds a key, so that the same file does not run twice."""

from __future__ import annotations

import time
from contextlib import suppress

from jobs import keys
from jobs.errors import JobConflict, JobNotFound
from jobs.records.job import Job, JobState
from jobs.stores.redis.deletion import Deletion
from jobs.stores.redis.reading import JobReader
from jobs.stores.redis.server import RedisServer

OPENING_SECONDS = 2.0  # max time from a claim to `open`; a live client sends only one command in between
POLL_SECONDS = 0.05


class Claims:
    """Claims submission keys for jobs.

    A key and its jobs lie on different nodes of a cluster, so no script can change both. A claim therefore changes
    only the key. It replaces a holder that no longer stands, if the key still names that holder.
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
        """Return whether the holder of a key keeps it. Waits for a holder that is still being submitted."""
        deadline = time.monotonic() + OPENING_SECONDS
        while (job := self._job(job_id)) is not None and job.state is JobState.VALIDATING and not job.cancel_requested:
            if time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._deletion.delete(job_id)
            except JobConflict:  # its client opened it in the meantime
                continue
            except JobNotFound:
                return False
        return job is not None and job.stands

    def _job(self, job_id: str) -> Job | None:
        with suppress(JobNotFound), self._server.damage.skipping():
            return self._reader.job(job_id)
        return None
