"""A lock that lets one process at a time use a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from jobs.errors import InvalidInput


class StateLock:
    """An exclusive lock on a folder, as a context manager. The kernel drops it when its holder dies.

    The lock file names its holder. A missing folder is created, readable by its owner only. The folder may be removed
    while the lock is held.

    Raises:
        InvalidInput: A live process holds the lock, or the folder cannot be created or used.
        OSError: The disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "lock"
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self._acquire()
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            raise InvalidInput(
                f"Another `qwen-batch run` (process {self._holder()}) already runs this file in {self._folder}.",
                "Wait until it ends, or name another folder with --state-dir.",
            ) from None
        except OSError as error:
            self.__exit__()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the caller names the disk
            raise InvalidInput(
                f"The state folder {self._folder} cannot be used: {error.strerror}.",
                "Name another folder with --state-dir.",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _acquire(self) -> int:
        """Open and lock the file at the path. Repeat this if the file was removed before it was locked."""
        while True:
            _make_private(self._folder)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                    return file
            except OSError:
                os.close(file)
                raise
            os.close(file)

    def _holder(self) -> str:
        try:
            return self._path.read_text(errors="replace").strip() or "unknown"
        except OSError:
            return "unknown"


def _make_private(folder: Path) -> None:
    """Create a folder and its missing parents, each accessible to its owner only."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
