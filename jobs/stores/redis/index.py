"""The lists of jobs, which name many jobs and so cannot change in one step with any of them.

Every change is ordered so that a crash between its commands leaves an entry too many, never one too few; whoever
reads a stale entry removes it.
"""

from __future__ import annotations

from contextlib import suppress

from jobs import keys
from jobs.errors import StoreFull, StoreUnavailable
from jobs.keys import JobKeys
from jobs.records.job import NewJob
from jobs.stores.damage import reading
from jobs.stores.redis.job_record import job_of
from jobs.stores.redis.server import Command, RedisServer, newest_id, scored

PRIORITY_STEP = 1e13  # more milliseconds than there have been since 1970: no turn reaches into the next priority
NEWS_LIFE_MS = 10_000  # much longer than a worker's pause between two looks


class JobIndex:
    """`qwen-batch:jobs`, and for each model `qwen-batch:unfinished:MODEL` and `qwen-batch:news:MODEL`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def add(self, spec: NewJob) -> None:
        """Name a job in both lists. Called before its keys change and once more after.

        Before: a crash cannot hide the job. After: a reader that came between may have removed the entry as stale.
        """
        self._server.pipeline([("ZADD", keys.JOBS, spec.created_at, spec.id), _first_turn(spec)])

    def newest(self, limit: int) -> list[str]:
        """Ids of jobs, the newest first; some may be gone."""
        return self._ids(keys.JOBS, self._server.run("ZREVRANGE", keys.JOBS, 0, limit - 1))

    def unfinished(self, model: str) -> list[str]:
        """Ids of a model's jobs that have not ended, next in turn first; some may have ended since, or be gone."""
        key = keys.unfinished(model)
        return self._ids(key, self._server.run("ZRANGE", key, 0, -1))

    def turns(self, model: str, first: int, count: int) -> list[tuple[str, float]]:
        """The same from the `first`-th on, at most `count` of them, with their scores."""
        key = keys.unfinished(model)
        found = scored(self._server.run("ZRANGE", key, first, first + count - 1, "WITHSCORES"))
        return [(job_id, score) for entry, score in found for job_id in self._ids(key, [entry])]

    def _ids(self, key: str, entries: list[bytes]) -> list[str]:
        """The entries that can be the id of a job; the others are skipped."""
        ids: list[str] = []
        for entry in entries:
            with self._server.damage.skipping(), reading(f"{key}, entry {entry!r}"):
                ids.append(entry.decode())
        return ids

    def had_its_turn(self, model: str, job_id: str, score: float) -> None:
        """Put a job behind the others of its priority. `score` is what `turns` said."""
        of_its_priority = score // PRIORITY_STEP * PRIORITY_STEP
        self._server.script("had_its_turn", [keys.unfinished(model)], job_id, of_its_priority)

    def announce(self, spec: NewJob) -> None:
        """Wake those who wait for news. If a server in trouble does not, they look by themselves before long."""
        key = keys.news(spec.model)
        with suppress(StoreFull, StoreUnavailable):  # what it announces is done
            self._server.pipeline([("XADD", key, "MAXLEN", 1, "*", "job", spec.id), ("PEXPIRE", key, NEWS_LIFE_MS)])

    def wait_for_news(self, model: str, since: str, timeout_seconds: float) -> str:
        """What `JobStore.wait_for_news` says."""
        block_ms = max(1, round(timeout_seconds * 1000))  # 0 would be for ever
        return newest_id(self._server.run("XREAD", "BLOCK", block_ms, "STREAMS", keys.news(model), since)) or since

    def drop_gone(self, job_id: str) -> None:
        """Remove a job whose keys are gone from the list of all jobs."""
        self._server.run("ZREM", keys.JOBS, job_id)

    def drop_ended(self, model: str, job_id: str) -> None:
        """Remove an ended job from its model's list.

        If `retry` opens it at the same moment, either this look at its state sees that, or `retry` adds it afterwards.
        """
        self._server.run("ZREM", keys.unfinished(model), job_id)
        job = job_of(job_id, self._server.run("HGETALL", JobKeys(job_id).meta))
        if job is not None and not job.state.ended:
            self._server.run(*_first_turn(job.spec))


def _first_turn(spec: NewJob) -> Command:
    """Before all that have been served already; a job that is listed keeps its turn."""
    return ("ZADD", keys.unfinished(spec.model), "NX", -spec.priority * PRIORITY_STEP, spec.id)
