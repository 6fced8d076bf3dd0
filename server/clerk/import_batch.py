"""Turn the uploaded file of a batch into a job.

A killed import begins again. If it had opened the job, the job is found by its submission key. Otherwise the job is
replaced.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from msgspec import structs

from jobs.batches.batch import NATIVE, Batch, BatchError, BatchPhase
from jobs.batches.batch_records import change
from jobs.errors import InvalidInput, JobNotFound, QuotaExceeded, QwenBatchError
from jobs.files.file_report import FileRefused
from jobs.files.formats.line_decoder import LineRules
from jobs.files.formats.model_checks import same_model
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.reading.container import Container
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.records.job import Job
from jobs.records.model_card import ModelCard
from jobs.submission.job_client import JobClient
from jobs.submission.submit_options import LineOptions, SubmitOptions
from server.access.key_ring import KeyRing
from server.clerk.envelopes import Envelopes, Faults
from server.options import Limits, ServeOptions
from server.stores import Stores

_LOADING_SECONDS = 600.0  # for which an import waits for a worker that loads the model, or builds kernels first
_STARTING_SECONDS = 5.0  # after a batch's creation; a worker that was started with the service does not report yet
_LOOK_SECONDS = 0.25
_NO_COLUMNS: tuple[str, ...] = ()  # keys beside OpenAI's are not brought back


class Refused(Exception):
    """A file that cannot become a job.

    Args:
        errors: The reasons, for the author of the file.
    """

    def __init__(self, *errors: BatchError) -> None:
        super().__init__(*errors)
        self.errors = errors


def import_batch(stores: Stores, client: JobClient, project: str, batch_id: str, options: ServeOptions) -> None:
    """Check the file of a batch, and make its job. A batch that is not in phase `validating` does not change.

    Raises:
        StoreUnavailable: Redis cannot be reached. The clerk tries again.
        StoreFull: The job does not fit in the memory of Redis.
    """
    batch = stores.batches.get(project, batch_id)
    if batch is None or batch.phase is not BatchPhase.VALIDATING or batch.cancel_requested:
        return
    try:
        submitted = _submit(stores, client, project, batch, options)
    except Refused as refusal:
        errors = refusal.errors
        change(stores.batches, project, batch_id, lambda seen: _failed(seen, errors))
        return
    stored = change(stores.batches, project, batch_id, lambda seen: _submitted(seen, submitted))
    if stored is None or stored.cancel_requested:
        with suppress(JobNotFound):
            stores.jobs.control.request_cancel(submitted.job_id or "")


def _submit(stores: Stores, client: JobClient, project: str, batch: Batch, options: ServeOptions) -> Batch:
    """Make the job of a batch. Returns the batch with the facts of its job. Raises `Refused`."""
    file = stores.files.get(project, batch.input_file_id)
    stream = None if file is None else stores.content.open(project, batch.input_file_id)
    if file is None or stream is None:
        raise Refused(BatchError("file_not_found", f"The file {batch.input_file_id} was deleted or has expired."))
    stream.close()
    try:
        reader = RowReader.of(
            file.filename, partial(_opened, stores, project, file.id), ReadingOptions(Container.JSONL)
        )
        with PromptFile([file.filename], [reader], lambda: None) as prompts:
            is_native = batch.endpoint == NATIVE
            if is_native:
                model = _model_named(stores, batch.model or "", batch, options)
            else:
                model = _checked_model(stores, reader, batch, options)
            keep = None if is_native else _NO_COLUMNS
            checked = _checked(prompts, LineRules(card=model, keep=keep), options.limits.batch_lines)
            _reserve_lines(stores, project, batch.id, checked.report.num_lines, options)
            left = max(batch.expires_at - time.time(), 0.001)
            wanted = SubmitOptions(
                model.name,
                card=model,
                deadline_seconds=left,
                priority=batch.priority,
                reuse=batch.reuse,
                lines=LineOptions(any_model=True, keep=keep),
                project=project,
                batch=batch.id,
            )
            job = client.submit(checked, wanted, f"batch:{batch.id}").job
    except InvalidInput as error:
        raise Refused(BatchError("invalid_file", str(error))) from None
    # The job may have ended before this process saves the batch, so the time is that of the job's creation.
    began = job.spec.created_at
    return structs.replace(batch, model=model.name, job_id=job.id, total=job.spec.num_lines, in_progress_at=began)


def _opened(stores: Stores, project: str, file_id: str) -> BinaryIO:
    stream = stores.content.open(project, file_id)
    if stream is None:
        raise Refused(BatchError("file_not_found", f"The file {file_id} was deleted while it was being read."))
    return stream


def _checked_model(stores: Stores, reader: RowReader, batch: Batch, options: ServeOptions) -> ModelCard:
    """Check the envelopes of all lines. Returns the model that they name. Raises `Refused`."""
    envelopes = Envelopes(batch.endpoint, options.limits.batch_lines)
    with reader.rows() as rows:
        errors = envelopes.check(rows)
    if errors:
        raise Refused(*errors)
    return _model_named(stores, envelopes.model or "", batch, options)


def _model_named(stores: Stores, wanted: str, batch: Batch, options: ServeOptions) -> ModelCard:
    """Return the model of a name. Waits while a worker loads it. Raises `Refused`."""
    deadline = time.monotonic() + _LOADING_SECONDS
    while True:
        loading = [worker.model for worker in stores.jobs.fleet.workers() if worker.state == "loading"]
        loading += filter(None, [options.own_model])
        cards = stores.jobs.fleet.models()  # after the reports, because a worker publishes its model before it is idle
        found = next((card for card in cards if card.name == wanted), None)
        found = found or next((card for card in cards if same_model(wanted, card.name)), None)
        if found is not None:
            return found
        starting = not cards and time.time() - batch.created_at < _STARTING_SECONDS
        is_awaited = starting or any(same_model(wanted, model) for model in loading)
        if not is_awaited or time.monotonic() > deadline:
            known = ", ".join(card.name for card in cards) or "none yet"
            why = f"It has been loading for {_LOADING_SECONDS:.0f} s." if is_awaited else f"Served models: {known}."
            message = f"No worker has served the model {wanted[:100]!r}. {why}"
            raise Refused(BatchError("model_not_found", message, param="body.model"))
        time.sleep(_LOOK_SECONDS)


def _checked(prompts: PromptFile, rules: LineRules, max_lines: int) -> CheckedFile:
    """Check the prompts of all lines. Raises `Refused`."""
    try:
        checked = prompts.check(rules)
        if checked.report.num_lines > max_lines:
            message = f"The file has {checked.report.num_lines:,} lines. A batch may have at most {max_lines:,}."
            raise Refused(BatchError("too_many_tasks", message))
        return checked
    except FileRefused:
        faults = Faults()
        for _, number, texts in prompts.faults(rules):
            faults.add(BatchError("invalid_line", "; ".join(texts), number))
        raise Refused(*faults.all()) from None


def _reserve_lines(stores: Stores, project: str, batch_id: str, num_lines: int, options: ServeOptions) -> None:
    """Reserve room for the lines of a file. Raises `Refused` if too many lines of its project would wait."""
    max_lines = _limits_of(project, options).waiting_lines
    submitted = {batch.id: batch.job_id for batch in stores.batches.unfinished(project) if batch.job_id is not None}
    jobs = stores.jobs.jobs.get_each(list(submitted.values())) if submitted else []
    waiting = {other: _waiting_lines(job) for other, job in zip(submitted, jobs, strict=True)}
    try:
        stores.batches.reserve_lines(project, batch_id, num_lines, max_lines, waiting)
    except QuotaExceeded as error:
        raise Refused(BatchError("waiting_lines_limit_exceeded", str(error))) from None


def _waiting_lines(job: Job | QwenBatchError) -> int:
    """Return the number of lines of a job that wait for a result. A job that is gone has none."""
    return 0 if isinstance(job, QwenBatchError) or job.state.ended else job.spec.num_lines - job.done


def _limits_of(project: str, options: ServeOptions) -> Limits:
    """Return the limits of a project. If the file of API keys cannot be read now, they are those of the service."""
    with suppress(InvalidInput):
        keys = KeyRing(None if options.keys_file is None else Path(options.keys_file), None, time.time)
        return keys.limits_of(project, options.limits)
    return options.limits


def _failed(batch: Batch, errors: tuple[BatchError, ...]) -> Batch | None:
    if batch.phase is not BatchPhase.VALIDATING:
        return None
    return structs.replace(batch, phase=BatchPhase.FAILED, ended_at=time.time(), errors=errors)


def _submitted(batch: Batch, submitted: Batch) -> Batch | None:
    if batch.phase is not BatchPhase.VALIDATING:
        return None
    return structs.replace(
        batch,
        phase=BatchPhase.SUBMITTED,
        model=submitted.model,
        job_id=submitted.job_id,
        total=submitted.total,
        in_progress_at=submitted.in_progress_at,
    )
