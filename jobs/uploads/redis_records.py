"""The records of files in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from jobs import keys
from jobs.errors import FileInUse, QuotaExceeded, RecordDamaged, RepeatDiffers
from jobs.project_keys import ProjectKeys
from jobs.stores.damage import reading, sound
from jobs.stores.redis.connection.server import Command, RedisServer, Word
from jobs.uploads.file_records import Page, Quota
from jobs.uploads.repeat import Repeat
from jobs.uploads.stored_file import Purpose, StoredFile

_record = msgspec.json.Decoder(StoredFile)


class RedisFileRecords:
    """Implements `FileRecords`; `jobs/project_keys.py` documents the layout."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

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
        names = [ProjectKeys(project).file(file_id) for file_id in file_ids]
        replies = self._server.replies(("GET", name) for name in names)
        return [_file_in(name, reply) for name, reply in zip(names, replies, strict=True)]

    def page(self, project: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        names = ProjectKeys(project)
        listing = names.files if purpose is None else names.files_of(purpose)
        ids = [member.decode() for member in self._server.run(*range_of(listing, page))]
        if not ids:
            return []
        return self._decoded([names.file(file_id) for file_id in ids])

    def _decoded(self, names: Sequence[str]) -> list[StoredFile]:
        found: list[StoredFile] = []
        for name, value in zip(names, sound(self._server.run("MGET", *names)), strict=True):
            if value is not None:  # removed since the listing was read
                with self._server.damage.skipping(), reading(name):
                    found.append(_record.decode(value))
        return found

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


def _file_in(name: str, reply: Any) -> StoredFile | RecordDamaged | None:  # noqa: ANN401 - a reply of Redis
    """Return the file in the value of a key, None if there is no value, or the error of a damaged record."""
    if reply is None or isinstance(reply, RecordDamaged):
        return reply
    try:
        with reading(name):
            return _record.decode(reply)
    except RecordDamaged as error:
        return error


def words_of(repeat: Repeat) -> list[Word]:
    """Return a repetition as the last arguments of `add_file.lua` and `add_batch.lua`."""
    return [repeat.digest, round(repeat.seconds * 1000), int(repeat.is_retry)]


def range_of(listing: str, page: Page) -> Command:
    """Return the command that reads a part of a sorted set of ids. The object of `page.after` may be gone."""
    bound = f"({page.after}" if page.after is not None else None
    if page.newest_first:
        return ("ZREVRANGEBYLEX", listing, bound or "+", "-", "LIMIT", 0, page.limit)
    return ("ZRANGEBYLEX", listing, bound or "-", "+", "LIMIT", 0, page.limit)


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
