"""Write the results of an ended batch into files.

The bytes depend only on the job. So a finish that was killed begins again, and its first files are swept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from msgspec import structs

from jobs.batches.agenda import Entry
from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.batches.batch_records import next_revision
from jobs.errors import JobNotFound
from jobs.files.results.kept_columns import NO_INPUT, KeptColumns
from jobs.files.results.result_line import result_line
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import Job, JobState
from jobs.records.object_id import new_object_id
from jobs.uploads.file_store import FileStore, FileWriter
from jobs.uploads.stored_file import StoredFile
from server.stores import Stores

_PIECE_BYTES = 2**18
_OUTPUT_SECONDS = 30 * 86_400
_ENDS = {JobState.EXPIRED: BatchPhase.EXPIRED, JobState.CANCELLED: BatchPhase.CANCELLED}


def finish_batch(stores: Stores, project: str, batch_id: str) -> None:
    """Write the output and the error file of a batch whose job has ended, and end the batch.

    Raises:
        StoreUnavailable: Redis cannot be reached. The clerk tries again.
        OutputNotWritable: The file store cannot be written.
    """
    batch = stores.batches.get(project, batch_id)
    if batch is None or batch.phase is not BatchPhase.SUBMITTED:
        return
    try:
        job = stores.jobs.jobs.get(batch.job_id or "")
    except JobNotFound:
        return
    if not job.state.ended:
        return
    with ExitStack() as files:
        output, errors = (files.enter_context(_ResultFile(stores.content, project, batch)) for _ in range(2))
        columns = KeptColumns(stores.jobs, job) if job.spec.has_columns else None
        counts = _write(every_line(job, stores.jobs.jobs.results(job.id)), job, columns, output, errors)
        written = {name: file.stored(name) for name, file in (("output", output), ("error", errors)) if file.lines}
        for file in written.values():
            stores.agenda.schedule(Entry(project, file.id), file.expires_at or 0.0)
        _save(stores, project, _ended(batch, job, counts, written), list(written.values()))


def _save(stores: Stores, project: str, ended: Batch, files: list[StoredFile]) -> None:
    """Save an ended batch with its files, unless somebody else has ended it. A cancellation meanwhile is kept."""
    while True:
        seen = stores.batches.get(project, ended.id)
        if seen is None or seen.phase.ended:
            for file in files:
                stores.content.remove(project, file.id)
            return
        changed = structs.replace(next_revision(ended, seen), cancelling_at=seen.cancelling_at)
        if seen.cancel_requested and changed.phase is BatchPhase.COMPLETED:
            changed = structs.replace(changed, phase=BatchPhase.CANCELLED)
        if stores.batches.save(project, changed, files):
            return


def every_line(job: Job, completions: Iterable[Completion]) -> Iterator[Completion]:
    """Iterate over one completion per line of an ended job. A line whose result is lost gets an error.

    Args:
        job: The job.
        completions: Its completions in input order, of which some may be missing.
    """
    expected = 0
    for completion in completions:
        if not expected <= completion.index < job.spec.num_lines:
            continue
        for index in range(expected, completion.index):
            yield _lost(index)
        expected = completion.index + 1
        yield completion
    for index in range(expected, job.spec.num_lines):
        yield _lost(index)


def _lost(index: int) -> Completion:
    lost = Completion.failed(index, "", ErrorCode.INTERNAL_ERROR, "The store has lost the result of this line.", "chat")
    return structs.replace(lost, line=index + 1)


def _write(
    completions: Iterable[Completion], job: Job, columns: KeptColumns | None, output: _ResultFile, errors: _ResultFile
) -> Counts:
    input_tokens = output_tokens = 0
    for completion in completions:
        line = result_line(completion, job, NO_INPUT if columns is None else columns.of(completion.index))
        if completion.error is not None:
            errors.write(line)
            continue
        output.write(line)
        if completion.usage is not None:
            input_tokens += completion.usage.prompt_tokens
            output_tokens += completion.usage.completion_tokens
    return Counts(output.lines, errors.lines, input_tokens, output_tokens)


def _ended(batch: Batch, job: Job, counts: Counts, files: dict[str, StoredFile]) -> Batch:
    return structs.replace(
        batch,
        phase=_ENDS.get(job.state, BatchPhase.COMPLETED),
        counts=counts,
        output_file_id=files["output"].id if "output" in files else None,
        error_file_id=files["error"].id if "error" in files else None,
        finalizing_at=job.ended_at,
        ended_at=time.time(),
    )


class _ResultFile:
    """One file of results as a context manager. It is begun by its first line."""

    def __init__(self, content: FileStore, project: str, batch: Batch) -> None:
        self.lines = 0
        self._content = content
        self._project = project
        self._batch = batch
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._writer: FileWriter | None = None
        self._created_at = time.time()
        self._id = new_object_id("file", self._created_at)

    def __enter__(self) -> _ResultFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._writer is not None:
            self._writer.discard()

    def write(self, line: bytes) -> None:
        """Append a line."""
        self.lines += 1
        self._pending.append(line)
        self._pending_bytes += len(line)
        if self._pending_bytes >= _PIECE_BYTES:
            self._flush()

    def stored(self, name: str) -> StoredFile:
        """Commit the file, and return its record. `name` is `output` or `error`."""
        writer = self._flush()
        writer.commit()
        lifetime = self._batch.output_expires_seconds or _OUTPUT_SECONDS
        return StoredFile(
            self._id,
            f"{self._batch.id}_{name}.jsonl",
            "batch_output",
            writer.size,
            writer.digest(),
            self._created_at,
            self._created_at + lifetime,
        )

    def _flush(self) -> FileWriter:
        if self._writer is None:
            self._writer = self._content.writer(self._project, self._id)
        self._writer.write(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0
        return self._writer
