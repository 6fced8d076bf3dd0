"""Write a file to an object store: the object is complete, or it is not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from jobs.errors import InvalidInput, OutputNotWritable
from jobs.files.remote.object_store import DRIVERS, StoredObject
from jobs.files.remote.urls import scheme_of, shown_url
from jobs.files.writing.destination import Destination, Output

_BUFFER_BYTES = 2**18


@dataclass(frozen=True)
class StoredFile:
    """A destination at a URL such as `s3://bucket/results.jsonl`."""

    object: StoredObject

    @classmethod
    def of(cls, url: str) -> StoredFile:
        """Return the destination at a URL. Raises `InvalidInput` if nothing can be written there."""
        scheme, _, path = url.partition("://")
        if scheme_of(url) not in DRIVERS:
            raise InvalidInput(
                f"{shown_url(url)} cannot be written: {scheme}:// is only read.",
                "Write to a path, or to s3://, gs:// or az://.",
            )
        if not path.partition("/")[2] or path.endswith("/"):
            raise InvalidInput(f"{shown_url(url)} names no object.", f"Write {scheme}://BUCKET/NAME.")
        return cls(StoredObject(url))

    @property
    def name(self) -> str:
        """The URL."""
        return self.object.name

    def check(self) -> None:
        """Check that the object can be written. Raises `OutputNotWritable`."""
        with _not_writable():
            self.object.check_writable()

    def open(self) -> AbstractContextManager[Output]:
        """Return a context manager that writes a temporary file, and uploads it at the end of the `with` block.

        A process that is killed leaves nothing: the temporary file has no name, and an upload that is cut off makes no
        object.

        Raises (when the block begins or ends):
            OutputNotWritable: The temporary file has no room, or the store refuses.
        """
        return self._opened()

    def exists(self) -> bool:
        """Return whether the object is there. Raises `OutputNotWritable` if the store refuses."""
        with _not_writable():
            return self.object.exists()

    def is_same(self, other: Destination) -> bool:
        """Return whether the other place is the same object."""
        return isinstance(other, StoredFile) and self.object == other.object

    def sibling(self, name: str) -> Destination:
        """Return an object beside this one."""
        folder, _, _ = self.object.url.rpartition("/")
        return StoredFile(StoredObject(f"{folder}/{PurePosixPath(name).name}"))

    @contextmanager
    def _opened(self) -> Iterator[Output]:
        with tempfile.TemporaryFile(buffering=_BUFFER_BYTES) as file:
            output = _TemporaryOutput(file, self.name)
            yield output
            size = output.finish()
            with _not_writable():
                self.object.put(f"/dev/fd/{file.fileno()}", size)


class _TemporaryOutput:
    """Writes to a temporary file, whose errors are errors for users."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name

    def write(self, data: bytes, /) -> None:
        """Append bytes. Raises `OutputNotWritable` if the disk is full."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._no_room(error) from error

    def finish(self) -> int:
        """Move to the start of the file. Returns its size in bytes."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._no_room(error) from error
        self._file.seek(0)
        return os.fstat(self._file.fileno()).st_size

    def _no_room(self, error: OSError) -> OutputNotWritable:
        return OutputNotWritable(
            f"{self._name} cannot be written: its temporary copy fails: {error.strerror}.",
            "Set TMPDIR to a folder with enough space.",
        )


@contextmanager
def _not_writable() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise OutputNotWritable(error.message, error.hint) from None
