"""Read batches together with their jobs, many at once."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.batches.batch import Batch, BatchPhase
from jobs.batches.status import BatchView, view_of
from jobs.errors import JobNotFound, QwenBatchError
from jobs.records.job import Job
from server.gathered import Gathered
from server.in_threads import InThreads
from server.stores import Stores

Place = tuple[str, str]  # project and id of a batch


class BatchViews:
    """Shows batches to clients. Requests that come at the same time share their reads.

    Args:
        stores: Where batches and jobs are.
        threads: Where the reads run.
    """

    def __init__(self, stores: Stores, threads: InThreads) -> None:
        self._stores = stores
        self._threads = threads
        self._gathered: Gathered[Place, BatchView | None] = Gathered(threads, self._read_each)

    async def get(self, project: str, batch_id: str) -> BatchView | None:
        """Return a batch with its current counts, or None if the project has no such batch."""
        return await self._gathered.get((project, batch_id))

    async def of(self, project: str, batches: Sequence[Batch]) -> list[BatchView]:
        """Return the views of batches that were read just now."""
        views = await self._threads.run(self._views, [(project, batch) for batch in batches])
        return [_sound(view) for view in views]

    def _read_each(self, places: Sequence[Place]) -> list[BatchView | Exception | None]:
        """Return the view of each place. Many callers may want the same one."""
        unique = list(dict.fromkeys(places))
        read = dict(zip(unique, self._stores.batches.get_each(unique), strict=True))
        found = [(place[0], batch) for place, batch in read.items() if isinstance(batch, Batch)]
        views = {(project, batch.id): view for (project, batch), view in zip(found, self._views(found), strict=True)}
        return [views.get(place) or _missing(read[place]) for place in places]

    def _views(self, batches: Sequence[tuple[str, Batch]]) -> list[BatchView | QwenBatchError]:
        """Return the views of batches with their projects. Reads the jobs that still matter, after the batches."""
        ids = list({batch.job_id: None for _, batch in batches if _needs_job(batch) and batch.job_id is not None})
        jobs = dict(zip(ids, self._stores.jobs.jobs.get_each(ids) if ids else [], strict=True))
        return [self._view(project, batch, jobs.get(batch.job_id or "")) for project, batch in batches]

    def _view(self, project: str, batch: Batch, job: Job | QwenBatchError | None) -> BatchView | QwenBatchError:
        if not _needs_job(batch):
            return view_of(batch, None)
        if isinstance(job, JobNotFound):  # the batch has ended meanwhile, and its job was deleted
            return view_of(self._stores.batches.get(project, batch.id) or batch, None)
        return job if isinstance(job, QwenBatchError) else view_of(batch, job)


def _needs_job(batch: Batch) -> bool:
    return batch.phase is BatchPhase.SUBMITTED and batch.job_id is not None


def _missing(read: object) -> Exception | None:
    """Return the error of a batch that cannot be read, or None if there is no batch."""
    return read if isinstance(read, Exception) else None


def _sound(view: BatchView | QwenBatchError) -> BatchView:
    if isinstance(view, QwenBatchError):
        raise view
    return view
