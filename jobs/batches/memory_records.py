"""The records of batches in memory, for tests. They also state the rules plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.batches.batch import Batch, BatchPhase
from jobs.batches.batch_records import too_many_batches, too_many_lines
from jobs.errors import RecordDamaged
from jobs.uploads.file_records import Page
from jobs.uploads.memory_records import ProjectTable, part_of
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import StoredFile


class MemoryBatchRecords:
    """Implements `BatchRecords`."""

    def __init__(self, table: ProjectTable) -> None:
        self._table = table
        self._batches: dict[tuple[str, str], Batch] = {}
        self._reserved: dict[tuple[str, str], int] = {}  # batch -> lines for which it has room

    def add(self, project: str, batch: Batch, max_unfinished: int, repeat: Repeat | None = None) -> Batch:
        with self._table.lock:
            earlier = self._table.earlier(project, repeat, self._batches)
            if earlier is not None:
                return earlier
            if sum(of == project for of, _ in self._table.unfinished) >= max_unfinished:
                raise too_many_batches(project, max_unfinished)
            self._batches[project, batch.id] = batch
            self._table.unfinished[project, batch.id] = batch.input_file_id
            self._table.remember(project, repeat, batch.id)
            return batch

    def get(self, project: str, batch_id: str) -> Batch | None:
        return self._batches.get((project, batch_id))

    def get_each(self, places: Sequence[tuple[str, str]]) -> list[Batch | RecordDamaged | None]:
        return [self._batches.get(place) for place in places]

    def unfinished(self, project: str) -> list[Batch]:
        with self._table.lock:
            return [batch for (of, _), batch in self._batches.items() if of == project and not batch.phase.ended]

    def reserve_lines(
        self, project: str, batch_id: str, num_lines: int, max_lines: int, waiting: Mapping[str, int]
    ) -> None:
        with self._table.lock:
            reserved = {other: lines for (of, other), lines in self._reserved.items() if of == project}
            others = sum(lines for other, lines in (reserved | dict(waiting)).items() if other != batch_id)
            if others + num_lines > max_lines:
                raise too_many_lines(project, num_lines, others, max_lines)
            self._reserved[project, batch_id] = num_lines

    def page(self, project: str, page: Page) -> list[Batch]:
        with self._table.lock:
            batches = {batch_id: batch for (of, batch_id), batch in self._batches.items() if of == project}
        return [batches[batch_id] for batch_id in part_of(batches, page)]

    def save(self, project: str, batch: Batch, files: Sequence[StoredFile] = ()) -> bool:
        place = (project, batch.id)
        with self._table.lock:
            if place not in self._batches or self._batches[place].revision != batch.revision - 1:
                return False
            self._batches[place] = batch
            needs = batch.input_file_id if batch.phase is BatchPhase.VALIDATING else ""
            self._table.unfinished[place] = needs
            if batch.phase.ended:
                del self._table.unfinished[place]
                self._reserved.pop(place, None)
            for file in files:
                self._table.files[project, file.id] = file
            return True

    def remove(self, project: str, batch_id: str) -> None:
        with self._table.lock:
            self._batches.pop((project, batch_id), None)
