"""Standard input, output and error of a command, also where one of them is closed or cannot be written."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from jobs.errors import OutputNotWritable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A closed stream is opened the wrong way round: its use fails as before, and no other file gets its number.
_STAND_INS = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


def open_standard_streams() -> None:
    """Make the three streams usable for the rest of this process.

    A closed standard input or output fails when it is used, and what is said on a closed standard error is dropped.
    Without a stand-in the next file or connection that opens would be taken for the stream. A failed write to standard
    output raises `OutputNotWritable`, but `BrokenPipeError` where the reader has gone.
    """
    for number, wrong_way in _STAND_INS.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, wrong_way)  # gets the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - no path; for good
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    told = sys.stdout
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput()),
        encoding=told.encoding if told else "utf-8",
        errors="backslashreplace",  # for a locale that cannot show a character
        line_buffering=bool(told and told.line_buffering),
    )


def flush_or_drop() -> None:
    """Let Python's own flush at exit succeed: what standard output does not take is thrown away."""
    try:
        sys.stdout.flush()
    except (OutputNotWritable, BrokenPipeError):
        _drop_standard_output()


def _drop_standard_output() -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


def check_standard_output() -> None:
    """Raises `OutputNotWritable` if standard output is closed."""
    _StandardOutput().write(b"")


class _StandardOutput(io.RawIOBase):
    def write(self, piece: ReadableBuffer, /) -> int:
        try:
            return os.write(1, piece)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputNotWritable(f"Standard output cannot be written: {error.strerror}.") from error

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return os.isatty(1)
