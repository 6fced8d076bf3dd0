"""The bytes of files in an object store, such as `s3://bucket/prefix`: one object per id."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import BinaryIO, cast

from jobs.errors import InvalidInput, StoreUnavailable
from jobs.files.remote.driver_errors import NoSuchObject
from jobs.files.remote.kept_blocks import KeptBlocks, KeptSpace, RemoteStream
from jobs.files.remote.object_store import DRIVERS, StoredObject
from jobs.files.remote.stored_file import StoredFile
from jobs.files.remote.urls import scheme_of, shown_url
from jobs.records.object_id import is_object_id
from jobs.uploads.file_store import FileWriter

_ID = "store-id"
_BUFFER_BYTES = 2**18
_RETRY = "Try again in a moment."


class ObjectFileStore:
    """A `FileStore` in an object store. A new file waits in an unnamed temporary file until it is complete.

    Args:
        url: The bucket and the beginning of all keys, such as `s3://bucket/prefix`.

    Raises:
        InvalidInput: The bucket does not exist, its server refuses or cannot be reached, or a driver is missing.
        OutputNotWritable: The bucket cannot be written.
    """

    def __init__(self, url: str) -> None:
        if scheme_of(url) not in DRIVERS or not url.partition("://")[2].strip("/"):
            raise InvalidInput(
                f"{shown_url(url)} is no place for files.",
                "Name a folder, or a place in an object store such as s3://BUCKET/PREFIX.",
            )
        self._url = url.rstrip("/")
        self._space = KeptSpace(max_bytes=0)  # readers keep one block each
        self._id = self._read_id() or self._new_id()

    def id(self) -> str:
        return self._id

    def writer(self, project: str, file_id: str) -> FileWriter:
        return _ObjectWriter(self._object(project, file_id))

    def open(self, project: str, file_id: str) -> BinaryIO | None:
        place = self._object(project, file_id)
        try:
            with _unavailable():
                size = place.version().size
        except NoSuchObject:
            return None
        return cast("BinaryIO", io.BufferedReader(RemoteStream(self._blocks(place, size)), _BUFFER_BYTES))

    def remove(self, project: str, file_id: str) -> None:
        with _unavailable():
            self._object(project, file_id).remove()

    def older_than(self, seconds: float) -> Iterator[tuple[str, str]]:
        latest = time.time() - seconds
        with _unavailable():
            folder = StoredObject(self._url)
            folder.abort_uploads(latest)
            found = folder.below()
        for key, written_at in found:
            project, _, file_id = key.rpartition("/")
            if written_at <= latest and project and "/" not in project and is_object_id("file", file_id):
                yield project, file_id

    def _blocks(self, place: StoredObject, size: int) -> KeptBlocks:
        def fetch(start: int, stop: int) -> bytes:
            with _unavailable():
                return place.fetch(start, stop)

        return KeptBlocks(size, fetch, self._space)

    def _object(self, project: str, file_id: str) -> StoredObject:
        assert is_object_id("file", file_id), file_id  # a client's text never becomes a key
        return StoredObject(f"{self._url}/{project}/{file_id}")

    def _read_id(self) -> str:
        place = StoredObject(f"{self._url}/{_ID}")
        try:
            return place.fetch(0, place.version().size).decode(errors="replace").strip()
        except NoSuchObject:
            return ""

    def _new_id(self) -> str:
        """Make the id of an empty store. If several processes do so at once, the last one decides for all."""
        with StoredFile(StoredObject(f"{self._url}/{_ID}")).open() as file:
            file.write(secrets.token_hex(16).encode())
        return self._read_id()


class _ObjectWriter:
    """Implements `FileWriter`."""

    def __init__(self, place: StoredObject) -> None:
        self.size = 0
        self._hash = sha256()
        self._stack = ExitStack()
        self._output = self._stack.enter_context(StoredFile(place).open())

    def write(self, piece: bytes) -> None:
        self._output.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def commit(self) -> None:
        self._stack.close()

    def discard(self) -> None:
        self._stack.__exit__(_Discarded, _Discarded(), None)


class _Discarded(Exception):
    """Ends the block of a file that shall not be stored."""


@contextmanager
def _unavailable() -> Iterator[None]:
    """Raise `StoreUnavailable` in place of the errors of an object store. A missing object stays `NoSuchObject`."""
    try:
        yield
    except NoSuchObject:
        raise
    except InvalidInput as error:
        raise StoreUnavailable(error.message, _RETRY) from error
