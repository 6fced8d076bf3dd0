"""Find the jobs that a visitor may see: the batches of the project, and perhaps the jobs of the command line.

A job of the command line has no project. Visitors see it if their key belongs to the project `default` and has the
right `admin`; without keys, everybody does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from jobs.batches.batch import Batch, BatchPhase
from jobs.errors import JobNotFound
from jobs.records.job import Job
from jobs.records.object_id import is_object_id, smallest_id
from jobs.uploads.file_records import Page
from server.borders.api_error import ApiError
from server.pages.job.entry import Entry, entry_of_batch, entry_of_job
from server.pages.visitor import Visitor
from server.stores import Stores

ENTRIES_PER_PAGE = 50
_MAX_LOOKED_AT = 2_000  # entries that one page of a search looks at
_MAX_JOBS = 2_000  # newest jobs among which those of the command line are looked for
_FIRST_JOBS = 100  # jobs that are read first; each further read takes four times as many
_NO_NAME = "(deleted file)"


@dataclass(frozen=True)
class Wanted:
    """Which jobs a visitor wants to see."""

    before: float | None = None  # only jobs that were created earlier; seconds since the epoch
    state: str = ""  # empty for every state
    search: str = ""  # part of a name, an id or a model


@dataclass(frozen=True)
class EntryPage:
    """Part of the list of jobs, newest first."""

    entries: list[Entry]
    older: float | None  # `Wanted.before` of the next page; None if there is none


class JobBook:
    """Reads the jobs of one visitor. Every method raises `StoreUnavailable`."""

    def __init__(self, stores: Stores, visitor: Visitor) -> None:
        self._stores = stores
        self._project = visitor.project
        self._sees_own_jobs = visitor.sees_own_jobs

    def get(self, entry_id: str) -> Entry:
        """Return a job by the id of its batch or, for a job of the command line, by its own id.

        Raises:
            ApiError: The visitor sees no such job. The answer is the same whether or not another project has it.
        """
        if is_object_id("batch", entry_id):
            batch = self._stores.batches.get(self._project, entry_id)
            if batch is not None:
                return self._of_batch(batch, with_job=True)
        elif entry_id.startswith("job-") and len(entry_id) < 100:
            job = self._job(entry_id)
            if job is not None and job.spec.project is None and self._sees_own_jobs:
                return entry_of_job(job)
            if job is not None and job.spec.project == self._project and job.spec.batch is not None:
                return self.get(job.spec.batch)
        raise ApiError(404, f"There is no job {entry_id[:100]!r}. It may have been deleted.")

    def page(self, wanted: Wanted) -> EntryPage:
        """Return the newest jobs that a visitor wants to see."""
        both = heapq.merge(self._batches(wanted.before), self._own_jobs(wanted.before), key=lambda each: -each[0])
        found: list[Entry] = []
        last: float | None = None
        for looked_at, (created_at, made) in enumerate(both):
            if len(found) == ENTRIES_PER_PAGE or looked_at == _MAX_LOOKED_AT:
                return EntryPage(found, last)
            last = created_at
            entry = made if isinstance(made, Entry) else self._of_batch(made)
            if _fits(entry, wanted):
                found.append(entry)
        return EntryPage(found, None)

    def _batches(self, before: float | None) -> Iterator[tuple[float, Batch | Entry]]:
        after = None if before is None else smallest_id("batch", before + 0.001)
        while batches := self._stores.batches.page(self._project, Page(ENTRIES_PER_PAGE, after)):
            for batch in batches:
                if before is None or batch.created_at < before:
                    yield batch.created_at, batch
            after = batches[-1].id

    def _own_jobs(self, before: float | None) -> Iterator[tuple[float, Batch | Entry]]:
        """Iterate over the jobs of the command line, newest first."""
        limit, seen = _FIRST_JOBS, 0
        while self._sees_own_jobs and seen < _MAX_JOBS:
            jobs = self._stores.jobs.jobs.newest(limit)
            for job in islice(jobs, seen, None):
                created_at = job.spec.created_at
                if job.spec.batch is None and (before is None or created_at < before):
                    yield created_at, entry_of_job(job)
            if len(jobs) < limit:
                return
            seen, limit = len(jobs), limit * 4

    def _of_batch(self, batch: Batch, *, with_job: bool = False) -> Entry:
        """Return the entry of a batch. Reads its job if the counts are only there, or if the caller needs the job."""
        job = None
        if batch.job_id is not None and (with_job or batch.phase is BatchPhase.SUBMITTED):
            job = self._job(batch.job_id)
            if job is None and not batch.phase.ended:  # the batch has ended meanwhile, and its job was deleted
                batch = self._stores.batches.get(self._project, batch.id) or batch
        file = self._stores.files.get(self._project, batch.input_file_id)
        name = job.spec.source if job is not None else _NO_NAME
        return entry_of_batch(batch, job, file.filename if file is not None else name)

    def _job(self, job_id: str) -> Job | None:
        try:
            return self._stores.jobs.jobs.get(job_id)
        except JobNotFound:
            return None


def _fits(entry: Entry, wanted: Wanted) -> bool:
    if wanted.state and entry.state != wanted.state:
        return False
    metadata = (entry.batch and entry.batch.metadata) or {}
    texts = (entry.name, entry.id, entry.model or "", *metadata.values())
    return any(wanted.search.casefold() in text.casefold() for text in texts)
