"""Why `run` cannot go on: its workers do not live."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from cli.exit_codes import ExitCode
from jobs.errors import QwenBatchError

_TAIL_LINES = 15


class LocalWorkerFailed(QwenBatchError):
    """A local worker ended by itself. `exit_code` is what `run` exits with."""

    def __init__(self, message: str, hint: str, exit_code: ExitCode) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code

    @classmethod
    def with_its_error(cls, log: Path, exit_code: ExitCode) -> Self:
        """It said what is wrong (an unusable model, say): its words are the message."""
        _, found, said = _read(log).rpartition("Error: ")
        message, _, hint = said.strip().partition("\n")
        if not found:
            message, hint = f"The worker ended with exit code {int(exit_code)}.", f"Its log is {log}."
        return cls(message, hint, exit_code)

    @classmethod
    def after_crashes(cls, log: Path, status: int, times: int) -> Self:
        """It crashed again and again: the end of its log is the best there is."""
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        tail = "\n".join(_read(log).splitlines()[-_TAIL_LINES:])
        return cls(
            f"The workers ended {times} times by themselves, the last one with {how}. Its last words:\n{tail}",
            f"The whole log is {log}.",
            ExitCode.JOB_NOT_COMPLETED,
        )


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
