"""Real worker processes, for tests that stop and kill them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from jobs.records.worker_report import WorkerReport
from jobs.stores.protocol import JobStore
from testing.processes.command_line import without_settings
from testing.processes.forked_workers import start_worker
from testing.processes.forking_server import ForkedProcess

RUN_WORKER = "import sys; from jobs.settings import Settings; from worker.main import run_worker; "
RUN_WORKER += "sys.exit(run_worker(Settings.from_env()))"
REPOSITORY = Path(__file__).resolve().parents[2]


class WorkerUnderTest:
    """One worker process; killed at the end of the block if it still runs.

    It is a fork of a process with the worker's modules if it runs Python code and has no prefix.

    Args:
        settings: `QWEN_BATCH_*` variables, without the prefix and in lower case.
        log: Receives what it writes.
        command: What to start; by default a program that calls `run_worker`.
        prefix: Words before the command, which must become it and not start it: the process id is the worker's.
    """

    def __init__(
        self,
        settings: dict[str, str],
        log: Path,
        command: Sequence[str] = ("-c", RUN_WORKER),
        prefix: Sequence[str] = (),
    ) -> None:
        self._environment = _environment(settings)
        self._log = log
        self._command = [*prefix, sys.executable, *command]
        self._code = command[1] if command[0] == "-c" and not prefix else None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = self._start(log)
        return self

    def _start(self, log: BinaryIO) -> ForkedProcess | subprocess.Popen[bytes]:
        if self._code is not None:
            return start_worker(self._code, self._environment, log)
        return subprocess.Popen(
            self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def wait_until(self, store: JobStore, *states: str, timeout_seconds: float = 120) -> WorkerReport:
        """Return its report as soon as it says that it is in one of these states."""
        return self.wait_for_report(store, lambda report: report.state in states, timeout_seconds)

    def wait_for_report(
        self, store: JobStore, wanted: Callable[[WorkerReport], bool], timeout_seconds: float = 120
    ) -> WorkerReport:
        """Return the first report of it that is as wanted."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            for report in store.fleet.workers():
                if report.pid == self.pid and wanted(report):
                    return report
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)  # a report is all that another process can see

    def wait_for_log(self, text: str, timeout_seconds: float = 60) -> None:
        """Return as soon as it has written that."""
        deadline = time.monotonic() + timeout_seconds
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)  # nobody tells when a file grows

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """As a machine that loses its power."""
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def exit_code(self, timeout_seconds: float = 120) -> int:
        """Wait for its end."""
        return self._process.wait(timeout_seconds)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return without_settings() | {f"QWEN_BATCH_{name.upper()}": value for name, value in settings.items()}
