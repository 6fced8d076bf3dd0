"""The one error tree: what happened, what it means, what to do next.

A bad line is data (`jobs.records.completion.LineError`); a bad job, file, model or server is one of these; a bug is a
traceback and never becomes one of these.
"""

from __future__ import annotations


class QwenBatchError(Exception):
    """Something a person can act on.

    Args:
        message: What happened, naming the value and, where there is one, the allowed range.
        hint: What to do next, as a full sentence. Empty when the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidInput(QwenBatchError):
    """A prompt file, an option or a setting that cannot be used as it is."""


class OutputNotWritable(QwenBatchError):
    """A results file cannot be written where it was asked for."""


class JobNotFound(QwenBatchError):
    """No job of that id is in the store."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r} in this store.", "List the jobs with `qwen-batch list`.")
        self.job_id = job_id


class JobConflict(QwenBatchError):
    """A job is not in a state in which this can be done (deleting a running job, say)."""


class StoreUnavailable(QwenBatchError):
    """The Redis server cannot be reached, refuses the password, or is not a Redis server."""


class OtherFormat(QwenBatchError):
    """The store is in use by a version of qwen-batch that reads and writes another format."""


class StoreFull(QwenBatchError):
    """The Redis server refuses writes: its memory limit is reached, or it cannot save its data on its disk."""


class StoreDamaged(QwenBatchError):
    """What the store must have of a job is damaged or gone."""


class RecordDamaged(StoreDamaged):
    """One record of the store cannot be read. Whoever reads many records skips it (`jobs/stores/damage.py`).

    Args:
        record: The record's key.
        why: What is wrong with its value.
        hint: What to do about it. By default the hint names the command that removes the record.
    """

    def __init__(self, record: str, why: str, hint: str = "") -> None:
        super().__init__(
            f"The store's record {record} cannot be read: {why}.",
            hint or f"If nobody needs it, remove it from the server: redis-cli UNLINK '{record}'.",
        )
        self.record = record
        self.why = why


class ResultsMissing(StoreDamaged):
    """A job has ended, and the store lacks results that it must have.

    Args:
        job_id: The job.
        how_many: `16 of 40`.
        lines: `lines 17 to 32`.
    """

    def __init__(self, job_id: str, how_many: str, lines: str) -> None:
        super().__init__(
            f"The store lacks {how_many} results of job {job_id}: {lines}.",
            f"Run these lines again with `qwen-batch retry {job_id}`, "
            f"or write what there is with `qwen-batch results {job_id} --partial`.",
        )


class ModelUnusable(QwenBatchError):
    """A model folder or id cannot be loaded: missing, damaged, of another architecture, or of an unsupported kind."""


class LeaseLost(Exception):
    """A worker's lease on a shard has expired or been taken over. Not for people: the worker drops the shard."""
