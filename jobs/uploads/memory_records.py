"""The records of files in memory, for tests. They also state the rules plainly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import TypeVar

from jobs.errors import FileInUse, RecordDamaged, RepeatDiffers
from jobs.uploads.file_records import Page, Quota, quota_of_bytes, quota_of_files
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import Purpose, StoredFile

_Object = TypeVar("_Object")


@dataclass
class ProjectTable:
    """All files and batches of the memory store, which its parts share. A part holds `lock` while it uses them."""

    clock: Callable[[], float]  # returns seconds since the epoch
    lock: RLock = field(default_factory=RLock)
    files: dict[tuple[str, str], StoredFile] = field(default_factory=dict)  # by project and id
    unfinished: dict[tuple[str, str], str] = field(default_factory=dict)  # batch -> the input file it needs, or ""
    repeats: dict[tuple[str, str], tuple[float, str, str]] = field(default_factory=dict)  # -> expiry, digest, id

    def earlier(
        self, project: str, repeat: Repeat | None, objects: Mapping[tuple[str, str], _Object]
    ) -> _Object | None:
        """Return the object that an earlier try made, or None. Raises `RepeatDiffers`."""
        if repeat is None or not repeat.is_retry:
            return None
        until, digest, object_id = self.repeats.get((project, repeat.token), (0.0, "", ""))
        if until <= self.clock() or (project, object_id) not in objects:
            return None
        if digest != repeat.digest:
            raise RepeatDiffers
        return objects[project, object_id]

    def remember(self, project: str, repeat: Repeat | None, object_id: str) -> None:
        """Remember the object that a request made."""
        if repeat is not None:
            self.repeats[project, repeat.token] = (self.clock() + repeat.seconds, repeat.digest, object_id)


class MemoryFileRecords:
    """Implements `FileRecords`."""

    def __init__(self, table: ProjectTable) -> None:
        self._table = table

    def add(self, project: str, file: StoredFile, quota: Quota, repeat: Repeat | None = None) -> StoredFile:
        with self._table.lock:
            earlier = self._table.earlier(project, repeat, self._table.files)
            if earlier is not None:
                return earlier
            if self.size(project) + file.size > quota.max_bytes:
                raise quota_of_bytes(project, quota)
            if len(self._of(project)) >= quota.max_files:
                raise quota_of_files(project, quota)
            self._table.files[project, file.id] = file
            self._table.remember(project, repeat, file.id)
            return file

    def get(self, project: str, file_id: str) -> StoredFile | None:
        return self._table.files.get((project, file_id))

    def get_each(self, project: str, file_ids: Sequence[str]) -> list[StoredFile | RecordDamaged | None]:
        return [self.get(project, file_id) for file_id in file_ids]

    def page(self, project: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        with self._table.lock:
            files = {file.id: file for file in self._of(project) if purpose in (None, file.purpose)}
        return [files[file_id] for file_id in part_of(files, page)]

    def remove(self, project: str, file_id: str) -> bool:
        with self._table.lock:
            if (project, file_id) not in self._table.files:
                return False
            if any(of == project and needed == file_id for (of, _), needed in self._table.unfinished.items()):
                raise FileInUse(file_id)
            del self._table.files[project, file_id]
            return True

    def size(self, project: str) -> int:
        return sum(file.size for file in self._of(project))

    def _of(self, project: str) -> list[StoredFile]:
        return [file for (of, _), file in list(self._table.files.items()) if of == project]


def part_of(ids: Mapping[str, object], page: Page) -> list[str]:
    """Return the ids that a page shows, in its order."""
    in_order = sorted(ids, reverse=page.newest_first)
    after = page.after
    if after is not None:
        in_order = [each for each in in_order if (each < after if page.newest_first else each > after)]
    return in_order[: page.limit]
