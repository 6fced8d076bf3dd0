"""The worker processes of `run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from cli import tether
from cli.exit_codes import ExitCode
from cli.worker_failure import LocalWorkerFailed
from jobs.settings import PREFIX, Settings

MAX_RESTARTS = 6  # while no line is finished: so many workers can one deadly line take with it before it is found
STOP_SECONDS = 20.0


class LocalWorkers:
    """Worker processes that live inside a `with` block, and end when this process dies.

    Args:
        settings: Reach them through their environment; passwords stand in no command line.
        number: How many. They share the CPU's cores unless `settings.threads` says otherwise.
        log_folder: Receives what each of them writes, as `worker-N.log`.
    """

    def __init__(self, settings: Settings, number: int, log_folder: Path) -> None:
        self._environment = _environment(settings, number)
        self._logs = [log_folder / f"worker-{index}.log" for index in range(1, number + 1)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._restarts = 0  # since a line was finished
        self._lines_done = 0

    def __enter__(self) -> Self:
        for log in self._logs:
            log.unlink(missing_ok=True)
            self._processes.append(self._start(log))
        return self

    def __exit__(self, *_: object) -> None:
        self.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for process in self._processes:
                process.wait(max(deadline - time.monotonic(), 0))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: at once, then
            pass
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            self._processes.clear()

    def check(self, lines_done: int) -> None:
        """Start crashed workers again, at most `MAX_RESTARTS` times while the job stands at the same `lines_done`.

        Raises:
            LocalWorkerFailed: One cannot start, or they crash again and again.
        """
        if lines_done > self._lines_done:
            self._lines_done, self._restarts = lines_done, 0
        for index, process in enumerate(self._processes):
            status = process.poll()
            if status is None:
                continue
            log = self._logs[index]
            if status in (ExitCode.INVALID_INPUT, ExitCode.STORE_UNAVAILABLE):
                raise LocalWorkerFailed.with_its_error(log, ExitCode(status))
            if self._restarts == MAX_RESTARTS:
                raise LocalWorkerFailed.after_crashes(log, status, MAX_RESTARTS + 1)
            self._restarts += 1
            self._processes[index] = self._start(log)

    def ask_to_stop(self) -> None:
        """Let them write their finished lines and end, while this process does something else."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)

    def _start(self, log: Path) -> subprocess.Popen[bytes]:
        # -P: a folder named `cli` or `worker` where the user happens to stand is not ours.
        program = [sys.executable, "-P", "-m", "cli.main", "worker"]
        with log.open("ab") as output:
            return subprocess.Popen(
                tether.command(program, signal.SIGKILL),  # its store dies too: nothing could be put in order
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # a Ctrl-C at the terminal is ours to handle
            )


def _environment(settings: Settings, number: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    own = settings.as_env()
    if number > 1 and settings.threads is None:
        own[PREFIX + "THREADS"] = str(max((os.cpu_count() or 1) // number, 1))
    return inherited | own
