"""The jobs of the memory store, which its facets share."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

from jobs.errors import JobNotFound
from jobs.stores.memory.job import MemoryJob
from jobs.stores.memory.notifications import MemoryNotifications


class JobTable:
    """The jobs by id, with the lock and the clock of the store. A facet holds `lock` while it uses the jobs.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = RLock()
        self.jobs: dict[str, MemoryJob] = {}
        self.notifications = MemoryNotifications()

    def get(self, job_id: str) -> MemoryJob:
        """Return the job. Raises `JobNotFound`."""
        if job_id not in self.jobs:
            raise JobNotFound(job_id)
        return self.jobs[job_id]

    def unfinished(self, model: str) -> list[MemoryJob]:
        """Return a model's jobs that have not ended, next to serve first."""
        jobs = [job for job in self.jobs.values() if job.spec.model == model and not job.state.ended]
        return sorted(jobs, key=lambda job: (-job.spec.priority, job.served_at, job.spec.id))
