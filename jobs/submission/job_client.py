"""The client of the queue: whatever gives work to the workers goes through it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from jobs.errors import JobConflict, StoreFull, StoreUnavailable
from jobs.files.file_report import FileReport
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.writing.destination import Destination
from jobs.queue.hints import HintSender
from jobs.records.job import Job, ShardRef
from jobs.stores.protocol import JobStore
from jobs.submission.checking import check_file
from jobs.submission.extension import store_more_lines
from jobs.submission.submission import Submitted, store_file
from jobs.submission.submit_options import LineOptions, SubmitOptions


@dataclass(frozen=True)
class JobClient:
    """Submits, extends, retries and resumes jobs.

    Each method changes the store first and then sends hints to the workers. A hint that is lost fails none of them,
    because workers also search the store for shards that nobody holds.
    """

    store: JobStore
    hints: HintSender

    def served_models(self) -> list[str]:
        """Return the models that live workers serve. Raises `StoreUnavailable`."""
        return sorted({worker.model for worker in self.store.fleet.workers()})

    def check(self, file: PromptFile, options: SubmitOptions, errors: Destination | None = None) -> CheckedFile:
        """Check every line of a file. If `options` has no model card, the card that a worker published counts.

        If the file is refused, `errors` gets every fault.

        Raises:
            InvalidInput: The file cannot be submitted.
            StoreUnavailable: The server cannot be reached.
        """
        card = options.card or self.store.fleet.model(options.model)
        return check_file(file, replace(options, card=card), errors=errors, keep=True)

    def submit(self, checked: CheckedFile, options: SubmitOptions, key: str | None = None) -> Submitted:
        """Store a checked file as a job. `store_file` describes the arguments and the errors."""
        submitted = store_file(self.store, checked, options, key)
        self._hint(submitted.job.spec.model, submitted.shards or [])
        return submitted

    def extend(
        self, job_id: str, file: PromptFile, skip_invalid: bool = False, lines: LineOptions | None = None
    ) -> tuple[Job, FileReport]:
        """Add the lines of a file to a job. Returns the job after the call and the file's report.

        `store_more_lines` describes the arguments and the errors. Also raises `JobConflict` if the job has a batch.
        """
        _check_without_batch(self.store.jobs.get(job_id), "extended")
        report, shards = store_more_lines(self.store, job_id, file, skip_invalid, lines or LineOptions())
        job = self.store.jobs.get(job_id)
        self._hint(job.spec.model, shards)
        return job, report

    def retry(self, job_id: str) -> bool:
        """Queue all lines of an ended job that have no completion. Returns False if there is none.

        Raises:
            JobConflict: The job has not ended, or it belongs to a batch.
            StoreUnavailable: The server cannot be reached.
        """
        job = self.store.jobs.get(job_id)
        _check_without_batch(job, "retried")
        model = job.spec.model
        shards = self.store.control.retry(job_id)
        self._hint(model, shards)
        return bool(shards)

    def resume(self, job_id: str) -> None:
        """Let workers run a paused job again.

        Raises:
            JobConflict: The job is neither queued nor in progress.
            StoreUnavailable: The server cannot be reached.
        """
        model = self.store.jobs.get(job_id).spec.model
        self._hint(model, self.store.control.resume(job_id))

    def _hint(self, model: str, shards: list[ShardRef]) -> None:
        if shards:
            with suppress(StoreUnavailable, StoreFull):
                self.hints.send(model, shards)


def _check_without_batch(job: Job, wish: str) -> None:
    """Raise `JobConflict` if the job has a batch: the output files of an ended batch never change."""
    if job.spec.batch is not None:
        raise JobConflict(
            f"Job {job.id} belongs to the batch {job.spec.batch}, so it cannot be {wish}.",
            "Create a new batch with these lines.",
        )
