"""The records of batches in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from jobs import keys
from jobs.batches.batch import Batch, BatchPhase
from jobs.batches.batch_records import too_many_batches, too_many_lines
from jobs.errors import RecordDamaged, RepeatDiffers
from jobs.project_keys import ProjectKeys
from jobs.stores.damage import sound
from jobs.stores.redis.connection.server import RedisServer, Word
from jobs.uploads.file_records import Page
from jobs.uploads.record_reader import RecordReader
from jobs.uploads.redis_records import words_of
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import StoredFile

_ENDED = "ended"


class RedisBatchRecords:
    """Implements `BatchRecords`; `jobs/project_keys.py` documents the layout."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._reader = RecordReader(server, Batch)

    def add(self, project: str, batch: Batch, max_unfinished: int, repeat: Repeat | None = None) -> Batch:
        names = ProjectKeys(project)
        self._server.run("SET", keys.FORMAT, keys.WIRE_FORMAT, "NX")
        keys_of_batch = [names.batch(batch.id), names.batches, names.unfinished]
        args: list[Word] = [batch.id, msgspec.json.encode(batch), batch.input_file_id, max_unfinished]
        if repeat is not None:
            keys_of_batch.append(names.repeat(repeat.token))
            args += words_of(repeat)
        reply = self._server.script("add_batch", keys_of_batch, *args)
        if reply == "ok":
            return batch
        if reply == "too_many":
            raise too_many_batches(project, max_unfinished)
        if reply == "differs":
            raise RepeatDiffers
        return self.get(project, reply) or batch

    def get(self, project: str, batch_id: str) -> Batch | None:
        found: Batch | None = sound(self.get_each([(project, batch_id)])[0])
        return found

    def get_each(self, places: Sequence[tuple[str, str]]) -> list[Batch | RecordDamaged | None]:
        return self._reader.each([ProjectKeys(project).batch(batch_id) for project, batch_id in places])

    def unfinished(self, project: str) -> list[Batch]:
        ids = [member.decode() for member in self._server.run("HKEYS", ProjectKeys(project).unfinished)]
        found = self.get_each([(project, batch_id) for batch_id in ids]) if ids else []
        return [batch for batch in found if isinstance(batch, Batch) and not batch.phase.ended]

    def reserve_lines(
        self, project: str, batch_id: str, num_lines: int, max_lines: int, waiting: Mapping[str, int]
    ) -> None:
        args: list[Word] = [batch_id, num_lines, max_lines]
        for other, lines in waiting.items():
            args += [other, lines]
        others = int(self._server.script("reserve_lines", [ProjectKeys(project).reserved], *args))
        if others >= 0:
            raise too_many_lines(project, num_lines, others, max_lines)

    def page(self, project: str, page: Page) -> list[Batch]:
        names = ProjectKeys(project)
        return self._reader.page(names.batches, page, names.batch)

    def save(self, project: str, batch: Batch, files: Sequence[StoredFile] = ()) -> bool:
        names = ProjectKeys(project)
        shared = [names.batch(batch.id), names.unfinished, names.reserved]
        shared += [names.files, names.files_of("batch_output"), names.bytes]
        args: list[Word] = [batch.id, batch.revision - 1, msgspec.json.encode(batch), _need_of(batch)]
        for file in files:
            args += [file.id, msgspec.json.encode(file), file.size]
        return bool(self._server.script("save_batch", [*shared, *(names.file(file.id) for file in files)], *args))

    def remove(self, project: str, batch_id: str) -> None:
        names = ProjectKeys(project)
        self._server.pipeline([("DEL", names.batch(batch_id)), ("ZREM", names.batches, batch_id)], atomic=True)


def _need_of(batch: Batch) -> str:
    """Return the file that the batch needs, '' for none, or 'ended'."""
    if batch.phase.ended:
        return _ENDED
    return batch.input_file_id if batch.phase is BatchPhase.VALIDATING else ""
