"""Write a file atomically: it appears complete or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shlex
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from jobs.byte_size import format_bytes
from jobs.errors import OutputNotWritable

_BUFFER_BYTES = 2**18


class OutputFile:
    """A context manager that writes a temporary file beside `path`, and renames it at the end of the `with` block.

    If the block raises, the temporary file is removed. Its writer holds a lock on it. The file of a killed writer has
    no lock any more, and the next writer to the same path removes it.

    Permissions follow the umask. A symbolic link stays, and its target is replaced. A device or a pipe (/dev/null,
    /dev/stdout) cannot be replaced, so it is written to directly.

    Raises:
        OutputNotWritable: On entry, if the path cannot be written. Later, if a write fails, for example on a full disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._target = path
        self._temporary: Path | None = None
        self._stream: BinaryIO

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            raise self._not_writable(error) from error
        return self

    def write(self, line: bytes) -> None:
        """Append bytes."""
        try:
            self._stream.write(line)
        except OSError as error:
            raise self._not_writable(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish(keep=kind is None)
        except OSError as failure:
            if kind is None:
                raise self._not_writable(failure) from failure
        finally:
            if self._temporary is not None:
                with suppress(OSError):
                    self._temporary.unlink(missing_ok=True)

    def _open(self) -> None:
        if not is_replaceable(self._path):
            self._stream = self._path.open("wb", buffering=_BUFFER_BYTES)
            return
        if self._path.exists() and not os.access(self._path, os.W_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
        self._target = self._path.resolve()
        _remove_leftovers(self._target)
        self._stream, self._temporary = _create_locked(self._target)

    def _finish(self, keep: bool) -> None:
        with self._stream:
            if not keep or self._temporary is None:
                return
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._temporary.replace(self._target)  # while locked, so that nobody takes the file for a leftover
        _sync_folder(self._target.parent)

    def _not_writable(self, error: OSError) -> OutputNotWritable:
        folder = self._target.parent
        reason, hint = f"{error.strerror}", "Name a file in a folder that you may write to."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder).free
            reason = f"its disk is full, {format_bytes(free)} are free"
            hint = "Free space there, or name a file on another disk."
        elif error.errno == errno.ENOENT and not folder.exists():
            reason = f"there is no folder {folder}"
            hint = f"Make the folder with `mkdir -p {shlex.quote(str(folder))}`, or name a file in another folder."
        elif error.errno == errno.ENOTDIR:
            file = next((above for above in (folder, *folder.parents) if above.exists()), folder)
            reason, hint = f"{file} is a file and no folder", "Name a file in a folder."
        return OutputNotWritable(f"{self._path} cannot be written: {reason}.", hint)


def is_replaceable(path: Path) -> bool:
    """Return whether a rename may put a file at the path: a regular file is there, or nothing that can be seen."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one regular file, through any links. The file need not exist yet."""
    if not (is_replaceable(one) and is_replaceable(other)):
        return False
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist yet
        return one.resolve() == other.resolve()


def check_writable(path: Path) -> None:
    """Check, before any work is done, that `OutputFile(path)` can begin. Makes and removes a temporary file.

    Raises:
        OutputNotWritable: The path's folder is missing or not writable, or the path is a directory.
    """
    if not is_replaceable(path) and not path.is_dir():  # opening a pipe would end the data for its reader
        if not os.access(path, os.W_OK):
            raise OutputNotWritable(f"{path} is not writable.", "Name another file.")
        return
    with suppress(_TrialOver), OutputFile(path):
        raise _TrialOver


class _TrialOver(Exception):
    """Leaves the `with` block of a check, so that the file is removed."""


def _create_locked(target: Path) -> tuple[BinaryIO, Path]:
    """Make a temporary file beside `target`, open for writing and locked. Returns the file and its path."""
    while True:
        temporary = target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(4)}.tmp")
        stream = temporary.open("xb", buffering=_BUFFER_BYTES)
        with suppress(OSError):  # without locks, no other writer removes temporary files either, so this one is safe
            fcntl.flock(stream, fcntl.LOCK_EX)
        if _is_at(stream.fileno(), temporary):
            return stream, temporary
        stream.close()  # another writer removed it as a leftover before it was locked


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files of `target` whose writers are dead. A file that cannot be removed stays."""
    name = re.compile(re.escape(_temporary_prefix(target)) + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):
        for found in [Path(entry.path) for entry in os.scandir(target.parent) if name.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove_if_dead(found)


def _remove_if_dead(temporary: Path) -> None:
    """Remove a temporary file. Raises `OSError` if its writer lives, if it is gone, or if it cannot be removed."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_at(descriptor, temporary):
            temporary.unlink()
    finally:
        os.close(descriptor)


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:200]}."


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the file that is at the path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut. Does nothing on a file system that cannot sync a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
