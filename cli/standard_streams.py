"""Standard input, output and error of a command. Each of them may be closed or not writable."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from jobs.errors import InvalidInput, OutputNotWritable
from jobs.files.encoding_advice import encoding_advice

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The stand-in has the wrong mode: use of the stream still fails, and no other file gets its number.
_STAND_INS = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


def open_standard_streams() -> None:
    """Make the three streams usable for the rest of this process.

    A closed stream is replaced by a stand-in. Otherwise the next file or connection would get the stream's number.
    Using a closed standard input or output then raises an error. Output to a closed standard error is dropped. A failed
    write to standard output raises `OutputNotWritable`, or `BrokenPipeError` if the reader has closed its end.
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
        errors="backslashreplace",  # the locale may not have a character
        line_buffering=bool(told and told.line_buffering),
    )


def text_or_input(argument: str) -> str:
    """Return an argument, or the text of standard input if the argument is `-`. The last line break is left out.

    Raises:
        InvalidInput: Standard input is not UTF-8.
    """
    if argument != "-":
        return argument
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"Standard input is not UTF-8: byte {error.start + 1:,} is wrong.",
            encoding_advice(error.object, "standard input"),
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def flush_or_drop() -> None:
    """Flush standard output, or drop its content if that fails. Python's own flush at exit then succeeds."""
    try:
        sys.stdout.flush()
    except (OutputNotWritable, BrokenPipeError):
        _drop_standard_output()


def _drop_standard_output() -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


def check_standard_output() -> None:
    """Raise `OutputNotWritable` if standard output is closed."""
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
