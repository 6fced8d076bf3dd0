"""Decide what a file or a batch needs next, and do it or have it done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import structs

from jobs.batches.agenda import Agenda, Entry
from jobs.batches.batch import Batch, BatchError, BatchPhase
from jobs.batches.batch_records import change
from jobs.errors import FileInUse, JobConflict, JobNotFound
from jobs.records.job_id import job_id_of_batch
from jobs.records.object_id import created_at_of, kind_of
from server.clerk.children import Work
from server.options import ServeOptions
from server.stores import Stores

_NO_RECORD_SECONDS = 60.0  # a record is written right after its entry; an older entry without one is left over
_WAIT_SECONDS = 60.0  # between two looks at a batch that waits for a child, in case it is cancelled or forgotten
_FIRST_LOOK_SECONDS = 0.3  # between two looks at a job that runs; it grows with the age of the batch
_LAST_LOOK_SECONDS = 2.0


class NextStep:
    """Takes entries of the agenda, one at a time.

    Args:
        stores: The stores.
        options: Options of the service.
        start: Has a child process handle a batch. Returns False if too many are busy.
    """

    def __init__(self, stores: Stores, options: ServeOptions, start: Callable[[Work, Entry], bool]) -> None:
        self._stores = stores
        self._options = options
        self._start = start

    def take(self, entry: Entry) -> None:
        """Do the next step of a file or a batch. Afterwards it is on the agenda only if it needs another look."""
        match kind_of(entry.id):
            case "file":
                self._file(entry)
            case "batch":
                self._batch(entry)
            case _:
                self._stores.agenda.drop(entry)

    def _file(self, entry: Entry) -> None:
        """Delete a file that has expired."""
        file = self._stores.files.get(entry.project, entry.id)
        if file is None:
            self._drop_without_record(entry)
            return
        if file.expires_at is None:
            self._stores.agenda.drop(entry)
            return
        if file.expires_at > time.time():
            self._stores.agenda.schedule(entry, file.expires_at)
            return
        with suppress(FileInUse):  # then it stays due
            self._stores.files.remove(entry.project, entry.id)
            self._stores.content.remove(entry.project, entry.id)
            self._stores.agenda.drop(entry)

    def _batch(self, entry: Entry) -> None:
        batch = self._stores.batches.get(entry.project, entry.id)
        if batch is None:
            self._drop_without_record(entry)
        elif batch.phase.ended:
            self._forget_job(entry, batch)
        elif batch.phase is BatchPhase.VALIDATING:
            self._validating(entry, batch)
        else:
            self._submitted(entry, batch)

    def _validating(self, entry: Entry, batch: Batch) -> None:
        now = time.time()
        if batch.cancel_requested:
            self._end(entry, BatchPhase.CANCELLED)
        elif batch.expires_at <= now:
            self._end(entry, BatchPhase.EXPIRED)
        elif not self._start("import_batch", entry):
            self._wait(self._stores.waiting.imports, entry, batch, until=batch.expires_at)

    def _submitted(self, entry: Entry, batch: Batch) -> None:
        try:
            job = self._stores.jobs.jobs.get(batch.job_id or "")
        except JobNotFound:
            self._end(entry, BatchPhase.FAILED, "The job of the batch was deleted before its files were written.")
            return
        now = time.time()
        if not job.state.ended and batch.expires_at <= now:
            # Workers end the late jobs of their model. This call does so, too, in case no worker serves the model now.
            # A shard whose lease it drops needs no hint, because workers also search the store.
            self._stores.jobs.recovery.recoverable_shards(job.spec.model, limit=1, expired_only=True)
        if not job.state.ended:
            wait = min(_FIRST_LOOK_SECONDS + (now - batch.created_at) / 60, _LAST_LOOK_SECONDS)
            self._stores.agenda.schedule(entry, now + wait)
        elif not self._start("finish_batch", entry):
            self._wait(self._stores.waiting.finishes, entry, batch, until=math.inf)

    def _wait(self, line: Agenda, entry: Entry, batch: Batch, *, until: float) -> None:
        """Let a batch wait in a line for a child. The oldest batch is next, however many are created after it."""
        line.schedule(entry, batch.created_at)
        self._stores.agenda.schedule(entry, min(time.time() + _WAIT_SECONDS, until))

    def _end(self, entry: Entry, phase: BatchPhase, reason: str | None = None) -> None:
        """End a batch that has no files to write."""
        now = time.time()

        def ended(batch: Batch) -> Batch | None:
            if batch.phase.ended or (batch.phase is BatchPhase.SUBMITTED and reason is None):
                return None
            errors = () if reason is None else (BatchError("job_deleted", reason),)
            return structs.replace(batch, phase=phase, ended_at=now, errors=errors)

        change(self._stores.batches, entry.project, entry.id, ended)
        self._stores.agenda.schedule(entry, now)

    def _forget_job(self, entry: Entry, batch: Batch) -> None:
        """Delete the job of an ended batch, when it is time."""
        at = (batch.ended_at or batch.created_at) + self._options.keep_jobs_seconds
        if batch.job_id is not None and at > time.time():
            self._stores.agenda.schedule(entry, at)
            return
        with suppress(JobNotFound, JobConflict):  # without an id, a killed import may have left a job
            self._stores.jobs.control.delete(batch.job_id or job_id_of_batch(batch.id))
        self._stores.agenda.drop(entry)

    def _drop_without_record(self, entry: Entry) -> None:
        if created_at_of(entry.id) < time.time() - _NO_RECORD_SECONDS:
            self._stores.agenda.drop(entry)
