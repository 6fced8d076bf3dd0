"""The lists of jobs. A list names many jobs, so it cannot change in one atomic step with any of them.

Changes are ordered so that a crash between two commands can leave a stale entry, but never a missing one. A reader
that finds a stale entry removes it.
"""

from __future__ import annotations

from contextlib import suppress

from jobs import keys
from jobs.errors import StoreFull, StoreUnavailable
from jobs.keys import JobKeys
from jobs.records.job import NewJob
from jobs.stores.damage import reading
from jobs.stores.redis.connection.server import Command, RedisServer, scored
from jobs.stores.redis.job_record import job_of

PRIORITY_STEP = 1e13  # larger than any time in ms since 1970, so scores of two priorities never overlap
NOTIFICATION_LIFE_MS = 10_000  # time to live of a notification; much longer than a worker's polling interval


class JobIndex:
    """The keys `qwen-batch:jobs`, `qwen-batch:unfinished:MODEL` and `qwen-batch:notification:MODEL`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def add(self, spec: NewJob) -> None:
        """Add a job to the list of all jobs and to its model's list. Call this before and after the job's keys change.

        The first call makes sure that a crash cannot hide the job. The second one is needed because a reader may have
        removed the entry as stale in between.
        """
        self._server.pipeline([_list_created(spec), _list_unserved(spec)])

    def newest(self, limit: int) -> list[str]:
        """Return the ids of the newest jobs, newest first. Some may have been deleted."""
        return self._ids(keys.JOBS, self._server.run("ZREVRANGE", keys.JOBS, 0, limit - 1))

    def all(self) -> list[str]:
        """Return the ids of all jobs, newest first. Some may have been deleted."""
        return self._ids(keys.JOBS, self._server.run("ZREVRANGE", keys.JOBS, 0, -1))

    def unfinished(self, model: str) -> list[str]:
        """Return the ids of a model's unfinished jobs, next to serve first. Some may have ended or been deleted."""
        key = keys.unfinished(model)
        return self._ids(key, self._server.run("ZRANGE", key, 0, -1))

    def next_jobs(self, model: str, first: int, count: int) -> list[tuple[str, float]]:
        """Return up to `count` entries of `unfinished` from position `first` on, each with its score."""
        key = keys.unfinished(model)
        found = scored(self._server.run("ZRANGE", key, first, first + count - 1, "WITHSCORES"))
        return [(job_id, score) for entry, score in found for job_id in self._ids(key, [entry])]

    def _ids(self, key: str, entries: list[bytes]) -> list[str]:
        """Return the entries that are text and so can be a job's id. Skips every other entry as damaged."""
        ids: list[str] = []
        for entry in entries:
            with self._server.damage.skipping(), reading(f"{key}, entry {entry!r}"):
                ids.append(entry.decode())
        return ids

    def mark_served(self, model: str, job_id: str, score: float) -> None:
        """Put a job behind the others of its priority. `score` is the job's score from `next_jobs`."""
        min_score = score // PRIORITY_STEP * PRIORITY_STEP
        self._server.script("mark_served", [keys.unfinished(model)], job_id, min_score)

    def notify(self, spec: NewJob) -> None:
        """Wake the workers in `wait_for_notification`. Ignores store errors, because these workers also poll."""
        key = keys.notification(spec.model)
        with suppress(StoreFull, StoreUnavailable):  # the change itself has succeeded
            self._server.pipeline(
                [("XADD", key, "MAXLEN", 1, "*", "job", spec.id), ("PEXPIRE", key, NOTIFICATION_LIFE_MS)]
            )

    def drop_gone(self, job_id: str) -> None:
        """Remove a deleted job from the list of all jobs.

        The caller may have read the job before `submit` created it, and only now remove it. Then either this call sees
        the new job and adds it again, or `submit` adds it afterwards.
        """
        self._server.run("ZREM", keys.JOBS, job_id)
        job = job_of(job_id, self._server.run("HGETALL", JobKeys(job_id).meta))
        if job is not None:
            self._server.run(*_list_created(job.spec))

    def drop_ended(self, model: str, job_id: str) -> None:
        """Remove an ended job from its model's list.

        `retry` may open the job at the same moment. Then either this call sees the new state and adds the job again,
        or `retry` adds it afterwards.
        """
        self._server.run("ZREM", keys.unfinished(model), job_id)
        job = job_of(job_id, self._server.run("HGETALL", JobKeys(job_id).meta))
        if job is not None and not job.state.ended:
            self._server.run(*_list_unserved(job.spec))


def _list_created(spec: NewJob) -> Command:
    """Return the command that adds a job to the list of all jobs."""
    return ("ZADD", keys.JOBS, spec.created_at, spec.id)


def _list_unserved(spec: NewJob) -> Command:
    """Return the command that lists a new job before all served jobs of its priority. A listed job keeps its score."""
    return ("ZADD", keys.unfinished(spec.model), "NX", -spec.priority * PRIORITY_STEP, spec.id)
