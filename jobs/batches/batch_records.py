"""The interface of the records of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from jobs.batches.batch import Batch
from jobs.errors import QuotaExceeded, RecordDamaged
from jobs.uploads.file_records import Page
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import StoredFile


class BatchRecords(Protocol):
    """Records of batches, per project. Thread-safe; every method is one atomic change or one read.

    A project sees only its own batches. Every method raises `StoreUnavailable` or `StoreFull` as `JobStore` does.
    """

    def add(self, project: str, batch: Batch, max_unfinished: int, repeat: Repeat | None = None) -> Batch:
        """Store a new batch, and return it.

        If `repeat` says that this is a retry, and an earlier try made a batch, returns that batch and stores nothing.

        Args:
            project: The batch's project.
            batch: The batch, in phase `validating`.
            max_unfinished: Max unfinished batches of the project.
            repeat: How to recognise repetitions; None if that is impossible.

        Raises:
            QuotaExceeded: The project has `max_unfinished` unfinished batches.
            RepeatDiffers: An earlier request with this token had another digest.
        """

    def get(self, project: str, batch_id: str) -> Batch | None:
        """Return a batch, or None if the project has no such batch."""

    def get_each(self, places: Sequence[tuple[str, str]]) -> list[Batch | RecordDamaged | None]:
        """Return batches of several projects by one read.

        Args:
            places: Project and id of each batch.

        Returns for each place what `get` returns, or the error that `get` raises for a damaged record.
        """

    def unfinished(self, project: str) -> list[Batch]:
        """Return the project's batches that have not ended, in any order. Damaged records are left out."""

    def reserve_lines(
        self, project: str, batch_id: str, num_lines: int, max_lines: int, waiting: Mapping[str, int]
    ) -> None:
        """Reserve room for the lines of an unfinished batch, which keeps the room until it ends.

        If several batches reserve at once, each one counts the room of those before it. A second call for the same
        batch replaces its room.

        Args:
            project: The batch's project.
            batch_id: Id of the batch.
            num_lines: Number of lines of its file.
            max_lines: Max lines without a result in the unfinished batches of the project.
            waiting: Number of lines without a result of other batches, by id. Each batch that is missing here waits
                with all lines for which it has room.

        Raises:
            QuotaExceeded: More than `max_lines` lines would wait.
        """

    def page(self, project: str, page: Page) -> list[Batch]:
        """Return a part of the project's batches in the order of their ids."""

    def save(self, project: str, batch: Batch, files: Sequence[StoredFile] = ()) -> bool:
        """Replace the record of a batch by its next revision, and add the files that the batch has written.

        Returns False, and changes nothing, if the stored revision is not the one before `batch.revision`.
        """

    def remove(self, project: str, batch_id: str) -> None:
        """Remove the record of a batch that has ended. Its files stay."""


def change(records: BatchRecords, project: str, batch_id: str, make: Callable[[Batch], Batch | None]) -> Batch | None:
    """Change a batch, whatever others change at the same time.

    Args:
        records: Where the batch is.
        project: The batch's project.
        batch_id: Id of the batch.
        make: Returns the changed batch, or None to leave the batch as it is. It may be called several times.

    Returns the stored batch after the call, or None if the project has no such batch.
    """
    while (batch := records.get(project, batch_id)) is not None:
        wanted = make(batch)
        if wanted is None:
            return batch
        changed = next_revision(wanted, batch)
        if records.save(project, changed):
            return changed
    return None


def next_revision(changed: Batch, before: Batch) -> Batch:
    """Return a changed batch as the next revision of the batch before the change."""
    return msgspec.structs.replace(changed, revision=before.revision + 1)


def too_many_batches(project: str, max_unfinished: int) -> QuotaExceeded:
    """Return the error for too many unfinished batches."""
    return QuotaExceeded(
        f"The project {project} may have at most {max_unfinished:,} unfinished batches.",
        "Wait until a batch has ended, or cancel one.",
    )


def too_many_lines(project: str, num_lines: int, others: int, max_lines: int) -> QuotaExceeded:
    """Return the error for a file with too many lines beside the `others` that wait already."""
    return QuotaExceeded(
        f"The file has {num_lines:,} lines, and {others:,} lines of the project {project} wait already. "
        f"At most {max_lines:,} may wait.",
        "Send fewer lines, or wait until earlier batches have ended.",
    )
