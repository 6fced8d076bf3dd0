"""Open a source of rows that can be read several times: a file, a URL, standard input or a pipe."""

from __future__ import annotations

import difflib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jobs.errors import InvalidInput
from jobs.files.remote.kept_blocks import KeptSpace
from jobs.files.remote.urls import is_url
from jobs.harmless import unicode_text

_BUFFER_BYTES = 2**20
_HINT = "Name a file of prompts, such as JSONL, CSV or Parquet, or - for standard input."


@dataclass(frozen=True)
class Source:
    """Bytes that can be read several times."""

    name: str  # for messages
    open_again: Callable[[], BinaryIO]  # opens the source at its start, as a seekable stream
    close: Callable[[], None]  # frees the source's resources
    version: Callable[[], object] = lambda: None  # returns a value that differs once the content has changed


def open_source(path: str, stdin: BinaryIO, space: KeptSpace) -> Source:
    """Open a file or a URL, or `stdin` for the path `-`.

    Standard input and pipes can be read only once, so they are copied to an unnamed temporary file first.

    Args:
        path: The path or URL.
        stdin: Standard input.
        space: Keeps the bytes of a URL, as long as the source is used.

    Raises:
        InvalidInput: The file is missing, a directory, or not readable, or there is no room for the copy.
    """
    if path == "-":
        return copied("standard input", _pieces("standard input", stdin))
    if is_url(path):
        from jobs.files.remote.remote_source import open_url

        return open_url(path, space)
    if not path:
        raise InvalidInput("The name of a file of prompts is empty.", _HINT)
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            hint = f"Name the files in it, such as '{path.rstrip('/')}/*.jsonl'."
            raise InvalidInput(f"{path} is a directory, not a file of prompts.", hint)
        stream = _open(path)
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path}.", _hint_for_missing(path)) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    name = unicode_text(path)
    with stream:
        if not stat.S_ISREG(mode):
            return copied(name, _pieces(name, stream))
    return Source(name, lambda: _open(path), lambda: None, lambda: _version_of(path))


def _hint_for_missing(path: str) -> str:
    """Return the next step for a file that does not exist: a similar name in its folder, if there is one."""
    missing = Path(path)
    try:
        names = [beside.name for beside in missing.parent.iterdir()]
    except OSError:
        names = []
    if nearest := difflib.get_close_matches(missing.name, names, n=1):
        return f"Did you mean {unicode_text(str(missing.parent / nearest[0]))}?"
    return _HINT


def copied(name: str, pieces: Iterable[bytes]) -> Source:
    """Return a source whose content is a temporary copy of the pieces.

    Raises:
        InvalidInput: There is no room for the copy.
    """
    copy = _copy_of(name, pieces)

    def open_again() -> BinaryIO:
        copy.seek(0)
        return os.fdopen(os.dup(copy.fileno()), "rb", buffering=_BUFFER_BYTES)

    return Source(name, open_again, copy.close)


def _copy_of(name: str, pieces: Iterable[bytes]) -> BinaryIO:
    try:
        with ExitStack() as opened:
            copy = opened.enter_context(tempfile.TemporaryFile())
            for piece in pieces:
                copy.write(piece)
            copy.flush()
            opened.pop_all()  # the copy outlives this function
    except OSError as error:
        raise InvalidInput(
            f"{name} cannot be copied to a temporary file: {error.strerror}.",
            "Set TMPDIR to a folder with enough space.",
        ) from error
    return copy


def _pieces(name: str, source: BinaryIO) -> Iterator[bytes]:
    try:
        while piece := source.read(_BUFFER_BYTES):
            yield piece
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}.", "Give a JSONL file.") from error


def _version_of(path: str) -> tuple[int, ...] | None:
    """Return what changes whenever somebody writes to a file. None if there is no file any more."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _open(path: str) -> BinaryIO:
    return Path(path).open("rb", buffering=_BUFFER_BYTES)
