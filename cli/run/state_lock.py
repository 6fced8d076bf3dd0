"""One process at a time works in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from jobs.errors import InvalidInput


class StateLock:
    """An exclusive lock on a folder, as a context manager. The kernel drops it when its holder dies.

    The lock file names its holder. The folder is made if need be, for its owner alone, and may be removed while the
    lock is held.

    Raises:
        InvalidInput: A live process holds the folder, or it cannot be made or used.
        OSError: Its disk is full.
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
                raise  # whoever knows the disk says more of it
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
        """Lock the file that is at the path: one that was removed between opening and locking guards nothing."""
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
    """Make a folder and every missing one above it, each for its owner alone."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
