"""Cancel, pause, resume, retry and delete jobs of the memory store."""

from __future__ import annotations

from jobs.records.job import Job, JobState, ShardRef
from jobs.stores.memory.job import MemoryJob
from jobs.stores.memory.table import JobTable
from jobs.stores.rules import never_opened, not_ended, not_running


class MemoryJobControl:
    """Implements `JobControl`."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def request_cancel(self, job_id: str) -> Job:
        with self._table.lock:
            job = self._table.get(job_id)
            if not job.state.ended:
                job.cancel_requested = not job.deadline_passed
                job.close_unheld(self._table.clock())
            return job.snapshot()

    def pause(self, job_id: str) -> Job:
        with self._table.lock:
            job = self._running(job_id, "paused")
            job.paused = True
            return job.snapshot()

    def resume(self, job_id: str) -> list[ShardRef]:
        with self._table.lock:
            job = self._running(job_id, "resumed")
            job.paused = False
            self._table.notifications.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.waiting()]

    def _running(self, job_id: str, wish: str) -> MemoryJob:
        job = self._table.get(job_id)
        if job.ending or job.state not in (JobState.QUEUED, JobState.IN_PROGRESS):
            raise not_running(job_id, "ending" if not job.state.ended and job.ending else job.state, wish)
        return job

    def retry(self, job_id: str) -> list[ShardRef]:
        with self._table.lock:
            job = self._ended(job_id)
            if job.counters.opened_at is None:
                raise never_opened(job_id)
            self._table.notifications.add(job.spec.model)
            return [ShardRef(job_id, index) for index in sorted({*job.reopen_lost(), *job.reopen_failed()})]

    def reopen_lost(self, job_id: str) -> list[ShardRef]:
        with self._table.lock:
            job = self._ended(job_id)
            self._table.notifications.add(job.spec.model)
            return [ShardRef(job_id, index) for index in job.reopen_lost()]

    def _ended(self, job_id: str) -> MemoryJob:
        job = self._table.get(job_id)
        if not job.state.ended:
            raise not_ended(job_id, job.state, "retried")
        return job

    def delete(self, job_id: str) -> None:
        with self._table.lock:
            job = self._table.get(job_id)
            if job.state in (JobState.QUEUED, JobState.IN_PROGRESS):
                raise not_ended(job_id, job.state, "deleted")
            del self._table.jobs[job_id]
