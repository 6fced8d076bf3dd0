"""Places that a command writes a file to. A file appears there complete or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url
from jobs.files.writing.output_file import OutputFile, check_writable, same_file


class Output(Protocol):
    """Gets the bytes of a file."""

    def write(self, data: bytes, /) -> object:
        """Append bytes. Raises `OutputNotWritable` if the destination refuses them."""
        ...


@runtime_checkable
class Destination(Protocol):
    """The place of one file."""

    @property
    def name(self) -> str:
        """The place as text, for messages. Its ending decides the format."""
        ...

    def check(self) -> None:
        """Check, before any work is done, that the file can be written. Raises `OutputNotWritable`."""
        ...

    def open(self) -> AbstractContextManager[Output]:
        """Return a context manager that writes the file.

        The end of the `with` block puts the file in its place. If the block raises, nothing changes there.

        Raises (when the block begins or ends):
            OutputNotWritable: The file cannot be written.
        """
        ...

    def exists(self) -> bool:
        """Return whether a file is there already."""
        ...

    def is_same(self, other: Destination) -> bool:
        """Return whether writing one of the two places would replace the file of the other."""
        ...

    def sibling(self, name: str) -> Destination:
        """Return the place of a file in the same folder, with another name."""
        ...


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """The path as text."""
        return str(self.path)

    def check(self) -> None:
        """Check that the folder is there and writable. Raises `OutputNotWritable`."""
        check_writable(self.path)

    def open(self) -> AbstractContextManager[Output]:
        """Return an `OutputFile`."""
        return OutputFile(self.path)

    def exists(self) -> bool:
        """Return whether the path exists."""
        return self.path.exists()

    def is_same(self, other: Destination) -> bool:
        """Return whether the other place is the same regular file, through any links."""
        return isinstance(other, LocalFile) and same_file(self.path, other.path)

    def sibling(self, name: str) -> Destination:
        """Return a file in the same folder."""
        return LocalFile(self.path.with_name(name))


def place_of_source(path: str) -> Destination | None:
    """Return the place that is read at a path or URL. None for a URL at which nothing can be written."""
    try:
        return destination_of("/dev/stdin" if path == "-" else path)
    except InvalidInput:
        return None


def destination_of(said: str) -> Destination:
    """Return the destination that a user names: a path, or a URL such as `s3://bucket/key`.

    Raises:
        InvalidInput: Nothing can be written at the URL.
    """
    if is_url(said):
        from jobs.files.remote.stored_file import StoredFile

        return StoredFile.of(said)
    return LocalFile(Path(said))
