"""Find the jobs that a visitor may see: the batches of the project, and perhaps the jobs of the command line.

A job of the command line has no project. Visitors see it if their key belongs to the project `default` and has the
right `admin`; without keys, everybody does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from jobs.batches.batch import Batch, BatchPhase
from jobs.errors import JobNotFound, QwenBatchError, RecordDamaged
from jobs.records.job import Job
from jobs.records.object_id import is_object_id, smallest_id
from jobs.uploads.file_records import Page
from jobs.uploads.stored_file import StoredFile
from server.middleware.api_error import ApiError
from server.pages.job.entry import Entry, entry_of_batch, entry_of_job
from server.pages.visitor import Visitor
from server.stores import Stores

ENTRIES_PER_PAGE = 50
_MAX_LOOKED_AT = 2_000  # entries that one page of a search looks at
_MAX_JOBS = 2_000  # newest jobs among which those of the command line are looked for
_FIRST_JOBS = ENTRIES_PER_PAGE + 1  # jobs that are read first; each further read takes four times as many
_NO_NAME = "(deleted file)"


@dataclass(frozen=True)
class Wanted:
    """Selection of the jobs that a visitor wants to see."""

    before: float | None = None  # only jobs that were created earlier; seconds since the epoch
    state: str = ""  # empty for every state
    search: str = ""  # part of a name, an id or a model


@dataclass(frozen=True)
class EntryPage:
    """Part of the list of jobs, newest first."""

    entries: list[Entry]
    older: float | None  # `Wanted.before` of the next page; None if there is none


_Dated = tuple[float, Entry | None]  # time of creation, and what was created


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
                return self._entries([batch], with_jobs=True)[0]
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
        looked_at = 0
        for created_at, entry in both:
            if entry is None:
                continue
            if len(found) == ENTRIES_PER_PAGE or looked_at == _MAX_LOOKED_AT:
                return EntryPage(found, last)
            looked_at += 1
            last = created_at
            if _fits(entry, wanted):
                found.append(entry)
        return EntryPage(found, None)

    def _batches(self, before: float | None) -> Iterator[_Dated]:
        """Iterate over the batches of the project, newest first."""
        after = None if before is None else smallest_id("batch", before + 0.001)
        while batches := self._stores.batches.page(self._project, Page(ENTRIES_PER_PAGE, after)):
            older = [batch for batch in batches if before is None or batch.created_at < before]
            yield from ((entry.created_at, entry) for entry in self._entries(older))
            after = batches[-1].id

    def _own_jobs(self, before: float | None) -> Iterator[_Dated]:
        """Iterate over the jobs of the command line, newest first.

        A batch's job yields None. The reader of both iterators then stops at the end of its page, and does not search
        older jobs for one of the command line.
        """
        limit, seen = _FIRST_JOBS, 0
        while self._sees_own_jobs and seen < _MAX_JOBS:
            jobs = self._stores.jobs.jobs.newest(limit)
            for job in islice(jobs, seen, None):
                created_at = job.spec.created_at
                if before is None or created_at < before:
                    yield created_at, entry_of_job(job) if job.spec.batch is None else None
            if len(jobs) < limit:
                return
            seen, limit = len(jobs), limit * 4

    def _entries(self, batches: Sequence[Batch], *, with_jobs: bool = False) -> list[Entry]:
        """Return the entries of batches, by two reads.

        Args:
            batches: The batches, as their records say.
            with_jobs: True to read the job of each batch; False to read only jobs whose counts no record has.

        Raises:
            RecordDamaged: A job is damaged, and `with_jobs` is True. In a list of entries it is left out.
        """
        ids = [batch.job_id if with_jobs or batch.phase is BatchPhase.SUBMITTED else None for batch in batches]
        found = iter(self._stores.jobs.jobs.get_each([job_id for job_id in ids if job_id is not None]))
        jobs = [None if job_id is None else next(found) for job_id in ids]
        for job in jobs:
            if with_jobs and isinstance(job, RecordDamaged):
                raise job
        files = self._stores.files.get_each(self._project, [batch.input_file_id for batch in batches])
        return [self._entry(*each) for each in zip(batches, jobs, files, strict=True)]

    def _entry(self, batch: Batch, job: Job | QwenBatchError | None, file: StoredFile | RecordDamaged | None) -> Entry:
        if isinstance(job, JobNotFound) and not batch.phase.ended:
            # The batch has ended meanwhile, and its job was deleted.
            batch = self._stores.batches.get(self._project, batch.id) or batch
        known = job if isinstance(job, Job) else None
        name = known.spec.source if known is not None else _NO_NAME
        return entry_of_batch(batch, known, file.filename if isinstance(file, StoredFile) else name)

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
