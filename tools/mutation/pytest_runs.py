"""Talks to `tools.mutation.preloaded`, a process that runs pytest in forks of itself."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROGRAM = Path(__file__).parent / "preloaded.py"


class PytestRuns:
    """Runs pytest in one folder, one run after the other.

    Args:
        python: The interpreter.
        folder: Folder in which pytest runs.
        environment: Environment variables of all runs.
    """

    def __init__(self, python: Path, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, PROGRAM],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # or `select` does not see what has been read ahead
            start_new_session=True,  # keeps Ctrl-C at the terminal from pytest; the runner handles it
        )

    def run(self, order: Mapping[str, object], timeout: float) -> int | None:
        """Run pytest. Returns its exit status, or None if it was killed after `timeout` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        child = int(self._line())
        if self._answers_within(timeout):
            return int(self._line())
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        self._line()
        return None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answers_within(self, timeout: float) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], timeout)[0])

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the tests has died")
        return line
