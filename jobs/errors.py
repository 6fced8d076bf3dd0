"""All errors for users. Each says what happened and what to do next.

A bad line is not an exception but data (`jobs.records.completion.LineError`). A bad job, file, model or server raises
one of these errors. A bug ends in a traceback and never becomes one of these errors.
"""

from __future__ import annotations


class QwenBatchError(Exception):
    """An error that the user can act on.

    Args:
        message: What happened. It names the value and, if there is one, the allowed range.
        hint: What to do next, as a full sentence. Empty if the message says that already.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        between = "\n" if "\n" in self.message else " "  # a list of faults ends before the hint begins
        return f"{self.message}{between}{self.hint}".strip()


class InvalidInput(QwenBatchError):
    """A prompt file, an option or a setting is not valid."""


class OutputNotWritable(QwenBatchError):
    """A results file cannot be written at the requested path."""


class JobNotFound(QwenBatchError):
    """The store has no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r} in this store.", "List the jobs with `qwen-batch list`.")
        self.job_id = job_id


class JobConflict(QwenBatchError):
    """The job's state does not allow the operation. Example: a running job cannot be deleted."""


class StoreUnavailable(QwenBatchError):
    """The Redis server cannot be reached, refuses the client, or cannot serve as a store."""


class OtherFormat(QwenBatchError):
    """Another version of qwen-batch uses the store, and its format differs."""


class StoreFull(QwenBatchError):
    """The Redis server refuses writes: its memory limit is reached, or it cannot save its data on its disk."""


class StoreDamaged(QwenBatchError):
    """Data of a job that the store must have is damaged or gone."""


class RecordDamaged(StoreDamaged):
    """One record of the store cannot be read. A reader of many records skips it (`jobs/stores/damage.py`).

    Args:
        record: The record's key.
        why: The fault in the record's value.
        hint: What to do next. The default hint names the command that removes the record.
    """

    def __init__(self, record: str, why: str, hint: str = "") -> None:
        super().__init__(
            f"The store's record {record} cannot be read: {why}.",
            hint or f"If nobody needs the record, remove it from the server: redis-cli UNLINK '{record}'.",
        )
        self.record = record
        self.why = why


class ResultsMissing(StoreDamaged):
    """The store lacks results of a job that has ended.

    Args:
        job_id: The job's id.
        how_many: Number of missing results as text, such as `16 of 40`.
        lines: The missing lines as text, such as `lines 17 to 32`.
    """

    def __init__(self, job_id: str, how_many: str, lines: str) -> None:
        super().__init__(
            f"The store lacks {how_many} results of job {job_id}: {lines}.",
            f"Run these lines again with `qwen-batch retry {job_id}`, "
            f"or write the remaining results with `qwen-batch results {job_id} --partial`.",
        )


class ModelUnusable(QwenBatchError):
    """A model cannot be loaded: it is missing, damaged, of another architecture, or of an unsupported kind."""


class ModelNotFound(ModelUnusable):
    """A model's name is neither that of a folder or file nor a hub id."""

    def __init__(self, name: str) -> None:
        hint = "Name a folder that holds a model, a GGUF file, a hub id such as Qwen/Qwen3-0.6B, or demo."
        if name.lower().startswith("qwen") and "/" not in name:
            hint = f"Did you mean Qwen/{name}? {hint}"
        super().__init__(f"There is no model {name!r}: it is no folder, no file and no hub id.", hint)


class LeaseLost(Exception):
    """A worker's lease on a shard has expired or been taken over. Users never see it: the worker drops the shard."""


class QuotaExceeded(QwenBatchError):
    """A project has reached the limit of its files, of its unfinished batches, or of its waiting lines."""


class FileInUse(QwenBatchError):
    """A file cannot be deleted, because a batch that is being validated needs it."""

    def __init__(self, file_id: str) -> None:
        super().__init__(
            f"The file {file_id} is the input of a batch that is being validated.",
            "Delete the file once the batch is in progress.",
        )


class RepeatDiffers(QwenBatchError):
    """A request has the idempotency key of an earlier request, but another body."""

    def __init__(self) -> None:
        super().__init__(
            "An earlier request with this Idempotency-Key had another body.", "Use a new key for each new request."
        )
