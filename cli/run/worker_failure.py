"""The error of `run` when its workers fail."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Self

from jobs.errors import QwenBatchError
from jobs.exit_codes import ExitCode

_ERROR = "Error: "


class LocalWorkerFailed(QwenBatchError):
    """A local worker ended by itself. `exit_code` is the exit code of `run`."""

    def __init__(self, message: str, hint: str, exit_code: ExitCode) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code

    @classmethod
    def with_its_error(cls, log: Path, exit_code: ExitCode) -> Self:
        """Return the error that the worker has reported, for example an unusable model."""
        message, hint = _own_words(log) or (f"The worker ended with exit code {int(exit_code)}.", f"Its log is {log}.")
        return cls(message, hint, exit_code)

    @classmethod
    def while_loading(cls, log: Path, status: int) -> Self:
        """Return the error for a worker that failed before its model was loaded. A negative `status` is a signal."""
        if status == -signal.SIGKILL:
            message = f"The worker {ending(status)} while it loaded the model: is there enough memory?"
        elif status >= 0 and (said := _own_words(log)):
            message = said[0]
        else:
            message = f"The worker {ending(status)} while it loaded the model. {last_line(log)}"
        return cls(message, f"Its whole log is {log}.", ExitCode.JOB_NOT_COMPLETED)

    @classmethod
    def after_crashes(cls, log: Path, status: int, times: int) -> Self:
        """Return the error for workers that crashed `times` times while they ran lines."""
        return cls(
            f"Workers crashed {times} times. The last one {ending(status)}. {last_line(log)}",
            f"Its whole log is {log}.",
            ExitCode.JOB_NOT_COMPLETED,
        )


def ending(status: int) -> str:
    """Return how a process with this status ended, such as `was killed by SIGABRT` or `ended with exit code 9`."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-status}"


def last_line(log: Path) -> str:
    """Return a sentence with the last line of a worker's log."""
    said = [line for line in _lines(log) if line.strip()]
    return f"Its last log line is: {said[-1].strip()}" if said else "Its log is empty."


def _own_words(log: Path) -> tuple[str, str] | None:
    """Return the last error in the worker's log as message and hint, or None if the log has none."""
    lines = _lines(log)
    starts = [index for index, line in enumerate(lines) if line.startswith(_ERROR)]
    if not starts:
        return None
    message, *hint = lines[starts[-1] :]
    return message.removeprefix(_ERROR), "\n".join(hint).strip()


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()
