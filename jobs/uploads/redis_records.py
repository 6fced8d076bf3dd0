"""The records of files in Redis."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs import keys
from jobs.errors import FileInUse, RecordDamaged, RepeatDiffers
from jobs.project_keys import ProjectKeys
from jobs.stores.damage import sound
from jobs.stores.redis.connection.server import RedisServer, Word
from jobs.uploads.file_records import Page, Quota, quota_of_bytes, quota_of_files
from jobs.uploads.record_reader import RecordReader
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import Purpose, StoredFile


class RedisFileRecords:
    """Implements `FileRecords`; `jobs/project_keys.py` documents the layout."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._reader = RecordReader(server, StoredFile)

    def add(self, project: str, file: StoredFile, quota: Quota, repeat: Repeat | None = None) -> StoredFile:
        names = ProjectKeys(project)
        self._server.run("SET", keys.FORMAT, keys.WIRE_FORMAT, "NX")
        keys_of_file = [names.file(file.id), names.files, names.files_of(file.purpose), names.bytes]
        args: list[Word] = [file.id, msgspec.json.encode(file), file.size, quota.max_bytes, quota.max_files]
        if repeat is not None:
            keys_of_file.append(names.repeat(repeat.token))
            args += words_of(repeat)
        reply = self._server.script("add_file", keys_of_file, *args)
        if reply == "ok":
            return file
        if reply == "too_many_bytes":
            raise quota_of_bytes(project, quota)
        if reply == "too_many_files":
            raise quota_of_files(project, quota)
        if reply == "differs":
            raise RepeatDiffers
        return self.get(project, reply) or file

    def get(self, project: str, file_id: str) -> StoredFile | None:
        found: StoredFile | None = sound(self.get_each(project, [file_id])[0])
        return found

    def get_each(self, project: str, file_ids: Sequence[str]) -> list[StoredFile | RecordDamaged | None]:
        return self._reader.each([ProjectKeys(project).file(file_id) for file_id in file_ids])

    def page(self, project: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        names = ProjectKeys(project)
        listing = names.files if purpose is None else names.files_of(purpose)
        return self._reader.page(listing, page, names.file)

    def remove(self, project: str, file_id: str) -> bool:
        file = self.get(project, file_id)
        if file is None:
            return False
        names = ProjectKeys(project)
        listings = [names.files, names.files_of(file.purpose)]
        reply = self._server.script(
            "remove_file", [names.file(file_id), *listings, names.bytes, names.unfinished], file_id, file.size
        )
        if reply == "in_use":
            raise FileInUse(file_id)
        return bool(reply == "ok")

    def size(self, project: str) -> int:
        return int(self._server.run("GET", ProjectKeys(project).bytes) or 0)


def words_of(repeat: Repeat) -> list[Word]:
    """Return a repetition as the last arguments of `add_file.lua` and `add_batch.lua`."""
    return [repeat.digest, round(repeat.seconds * 1000), int(repeat.is_retry)]
