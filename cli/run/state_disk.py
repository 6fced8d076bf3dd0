"""Messages of `run` about a full disk of its state folder."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.console.console import Console
from cli.run.worker_failure import LocalWorkerFailed
from jobs.byte_size import format_bytes
from jobs.errors import StoreFull, StoreUnavailable

MIN_FREE_BYTES = 2**14  # with less, a server cannot even start


class StateDisk:
    """The disk that holds a run's state folder.

    Args:
        folder: The run's state folder. It need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._was_full = False

    def has_no_room(self) -> bool:
        """Return whether the disk has too little space to start a server."""
        return self._usage().free < MIN_FREE_BYTES

    def error(self) -> StoreFull:
        """Return an error that names the disk, its free bytes and the next step."""
        usage = self._usage()
        return StoreFull(
            f"The disk of the state folder {self._folder} is full: {format_bytes(usage.free)} of "
            f"{format_bytes(usage.total)} are free.",
            "Free space there, or name a folder on another disk with --state-dir.",
        )

    @contextmanager
    def named_in_errors(self, stops_server: Callable[[], bool]) -> Iterator[None]:
        """Replace an error that a full disk causes by an error that names the disk.

        Args:
            stops_server: Returns whether a full disk stops the server.

        Raises:
            StoreFull: An operation failed because the disk is full.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self.error() from error
        except (StoreFull, StoreUnavailable, LocalWorkerFailed) as error:
            if not stops_server():
                raise
            raise self.error() from error

    def look(self, cannot_save: bool, console: Console) -> None:
        """Report once that the server cannot save its data, and once that it can again."""
        if cannot_save and not self._was_full:
            full = self.error()
            console.warn(f"{full.message} {full.hint} The run waits for free space.")
        if self._was_full and not cannot_save:
            console.say("The disk has free space again. The run continues.")
        self._was_full = cannot_save

    def _usage(self) -> shutil._ntuple_diskusage:
        existing = next(each for each in (self._folder, *self._folder.parents) if each.exists())
        return shutil.disk_usage(existing)
