"""A file that appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
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
    """Writes beside `path` and renames at the end of a `with` block that raised nothing; else nothing is left.

    The temporary file is locked while its writer lives. A writer that was killed leaves its file; the next writer to
    the same path finds that file without a lock and removes it.

    Permissions follow the umask. A symbolic link keeps pointing where it points; a device or a pipe (/dev/null,
    /dev/stdout) is written to directly, because it cannot be replaced.

    Raises:
        OutputNotWritable: On entry, if the file cannot be written there; later, if the disk is full, say.
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
            self._temporary.replace(self._target)  # before the lock ends: nobody may take the file for a leftover
        _sync_folder(self._target.parent)

    def _not_writable(self, error: OSError) -> OutputNotWritable:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(self._target.parent).free
            return OutputNotWritable(
                f"{self._path} cannot be written: its disk is full, {format_bytes(free)} are free.",
                "Free space there, or name a file on another disk.",
            )
        return OutputNotWritable(
            f"{self._path} cannot be written: {error.strerror}.", "Name a file in a folder that you may write to."
        )


def is_replaceable(path: Path) -> bool:
    """Whether a rename may put a file there: an ordinary file is there, or nothing that can be seen."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one ordinary file, through whatever links and folders, or will when it exists."""
    if not (is_replaceable(one) and is_replaceable(other)):
        return False
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist yet
        return one.resolve() == other.resolve()


def check_writable(path: Path) -> None:
    """Find out early, by making and removing a temporary file, whether `OutputFile(path)` will be able to begin.

    Raises:
        OutputNotWritable: Its folder is missing or may not be written to, or the path is a directory.
    """
    if not is_replaceable(path) and not path.is_dir():  # opening a pipe would be noticed at its other end
        if not os.access(path, os.W_OK):
            raise OutputNotWritable(f"{path} is not writable.", "Name another file.")
        return
    with suppress(_TrialOver), OutputFile(path):
        raise _TrialOver


class _TrialOver(Exception):
    """Leaves a trial's `with` block so that no file is kept."""


def _create_locked(target: Path) -> tuple[BinaryIO, Path]:
    """A new temporary file beside `target`, open for writing and locked, and its path."""
    while True:
        temporary = target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(4)}.tmp")
        stream = temporary.open("xb", buffering=_BUFFER_BYTES)
        with suppress(OSError):  # a file system without locks: nobody can take the file for a leftover there, either
            fcntl.flock(stream, fcntl.LOCK_EX)
        if _is_at(stream.fileno(), temporary):
            return stream, temporary
        stream.close()  # another writer took it for a leftover before it was locked


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files of `target` whose writers are dead. What cannot be removed stays."""
    name = re.compile(re.escape(_temporary_prefix(target)) + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):
        for found in [Path(entry.path) for entry in os.scandir(target.parent) if name.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove_if_dead(found)


def _remove_if_dead(temporary: Path) -> None:
    """Raises `OSError` if the file has a living writer, is gone, or may not be removed."""
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
    """Whether the open file is the one that lies at the path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; a file system that cannot sync a folder has no need of it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
