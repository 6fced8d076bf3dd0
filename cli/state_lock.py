"""One `run` at a time works in a state folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from jobs.errors import InvalidInput


class StateLock:
    """An exclusive lock on a folder, which the kernel drops when its holder dies. The file names the holder.

    Raises:
        InvalidInput: A live `run` holds the folder, or it cannot be made or used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def __enter__(self) -> Self:
        path = self._folder / "lock"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidInput(
                f"The state folder {self._folder} cannot be used: {error.strerror}.",
                "Name another one with --state-dir.",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            self.__exit__()
            raise InvalidInput(
                f"Another `qwen-batch run` (process {holder or 'unknown'}) is using the state folder {self._folder}.",
                "Wait for it, or give this one a folder of its own with --state-dir.",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
