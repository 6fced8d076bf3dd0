"""The interface of the records of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jobs.errors import QuotaExceeded, RecordDamaged
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import Purpose, StoredFile


@dataclass(frozen=True)
class Quota:
    """Limits of one project."""

    max_bytes: int  # size of all files of a project together
    max_files: int


@dataclass(frozen=True)
class Page:
    """Part of a listing that a client asks for."""

    limit: int  # max objects
    after: str | None = None  # id of the object before the first one. That object may be gone.
    newest_first: bool = True


class FileRecords(Protocol):
    """Records of files, per project. Thread-safe; every method is one atomic change or one read.

    A project sees only its own files. Every method raises `StoreUnavailable` or `StoreFull` as `JobStore` does.
    """

    def add(self, project: str, file: StoredFile, quota: Quota, repeat: Repeat | None = None) -> StoredFile:
        """Store a file's record, and return it. The bytes must be in the file store already.

        If `repeat` says that this is a retry, and the file that an earlier try made is still there, returns that file
        and stores nothing.

        Raises:
            QuotaExceeded: The project's files would exceed the quota.
            RepeatDiffers: An earlier request with this token had another digest.
        """

    def get(self, project: str, file_id: str) -> StoredFile | None:
        """Return a file's record, or None if the project has no such file."""

    def get_each(self, project: str, file_ids: Sequence[str]) -> list[StoredFile | RecordDamaged | None]:
        """Return files by one read: for each id what `get` returns, or the error that `get` raises."""

    def page(self, project: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        """Return a part of the project's files in the order of their ids. `purpose` None means every purpose."""

    def remove(self, project: str, file_id: str) -> bool:
        """Remove a file's record. Returns False if the project has no such file.

        Raises:
            FileInUse: A batch that is being validated needs the file.
        """

    def size(self, project: str) -> int:
        """Return the number of bytes of the project's files."""


def quota_of_bytes(project: str, quota: Quota) -> QuotaExceeded:
    """Return the error for files that would need too many bytes."""
    return QuotaExceeded(
        f"The files of project {project} may hold at most {quota.max_bytes:,} bytes together.",
        "Delete files that nobody needs.",
    )


def quota_of_files(project: str, quota: Quota) -> QuotaExceeded:
    """Return the error for too many files."""
    return QuotaExceeded(
        f"The project {project} may have at most {quota.max_files:,} files.", "Delete files that nobody needs."
    )
