"""The bytes of files: a folder, with one file per id. Redis holds only their records."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from jobs.errors import OutputNotWritable
from jobs.records.object_id import is_object_id

_TEMPORARY = ".part"
_BUFFER_BYTES = 2**18  # a reader without a buffer would read single bytes in `readline`


class FileWriter(Protocol):
    """Writes the bytes of one new file. Call `commit` or `discard` at the end. Every method may block."""

    size: int  # bytes so far

    def write(self, piece: bytes) -> None:
        """Append bytes. Raises `OutputNotWritable`."""

    def digest(self) -> str:
        """Return the SHA-256 of the bytes so far, hexadecimal."""

    def commit(self) -> None:
        """Make the file readable under its id: all bytes, on the disk. Raises `OutputNotWritable`."""

    def discard(self) -> None:
        """Remove what was written."""


class FileStore(Protocol):
    """Keeps the bytes of files, by project and id. Thread-safe."""

    def id(self) -> str:
        """Return the id of this store, which never changes."""

    def writer(self, project: str, file_id: str) -> FileWriter:
        """Begin a new file. Raises `OutputNotWritable`."""

    def open(self, project: str, file_id: str) -> BinaryIO | None:
        """Open a file at its start, as a seekable stream. Returns None if it does not exist."""

    def remove(self, project: str, file_id: str) -> None:
        """Remove a file, if it exists."""

    def older_than(self, seconds: float) -> Iterator[tuple[str, str]]:
        """Iterate over project and id of the files that were written longer ago than this.

        Also removes unfinished files of that age, whose writers are gone.
        """


class FolderStore:
    """A `FileStore` in a folder that only its owner can read.

    A file is written beside its target, synced and renamed, so that a reader sees all of it or nothing.

    Args:
        folder: Path of the folder. It is made if it does not exist.

    Raises:
        OutputNotWritable: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._id = _id_in(folder / "store-id")
        except OSError as error:
            raise _not_writable(folder, error) from error

    def id(self) -> str:
        return self._id

    def writer(self, project: str, file_id: str) -> FileWriter:
        return _FolderWriter(self._path(project, file_id))

    def open(self, project: str, file_id: str) -> BinaryIO | None:
        try:
            return self._path(project, file_id).open("rb", buffering=_BUFFER_BYTES)
        except FileNotFoundError:
            return None

    def remove(self, project: str, file_id: str) -> None:
        self._path(project, file_id).unlink(missing_ok=True)

    def older_than(self, seconds: float) -> Iterator[tuple[str, str]]:
        latest = time.time() - seconds
        for path in self._folder.glob("*/*"):
            with suppress(OSError):  # removed meanwhile
                if path.stat().st_mtime > latest:
                    continue
                if path.name.endswith(_TEMPORARY):
                    path.unlink()
                elif is_object_id("file", path.name):
                    yield path.parent.name, path.name

    def _path(self, project: str, file_id: str) -> Path:
        assert is_object_id("file", file_id), file_id  # a client's text never becomes a path
        return self._folder / project / file_id


class _FolderWriter:
    """Implements `FileWriter`."""

    def __init__(self, target: Path) -> None:
        self.size = 0
        self._target = target
        self._temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{_TEMPORARY}")
        self._hash = hashlib.sha256()
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            self._stream = self._temporary.open("xb", buffering=0)
        except OSError as error:
            raise _not_writable(target.parent, error) from error

    def write(self, piece: bytes) -> None:
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise _not_writable(self._target.parent, error) from error
        self._hash.update(piece)
        self.size += len(piece)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def commit(self) -> None:
        try:
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._temporary.replace(self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            raise _not_writable(self._target.parent, error) from error

    def discard(self) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)


def _id_in(path: Path) -> str:
    """Return the id in a file. Makes the file if it does not exist; several processes may do so at once."""
    new = path.with_name(f"store-id.{secrets.token_hex(4)}")
    new.write_text(secrets.token_hex(16))
    with suppress(FileExistsError):
        os.link(new, path)
    new.unlink()
    return path.read_text().strip()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_writable(folder: Path, error: OSError) -> OutputNotWritable:
    return OutputNotWritable(
        f"The file store {folder} cannot be written: {error.strerror}.",
        "Free space there, or name another folder with --files.",
    )
