"""The worker processes of `run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cli.run.worker_failure import LocalWorkerFailed, ending, last_line
from jobs import tether
from jobs.exit_codes import ExitCode
from jobs.settings import PREFIX, Settings

MAX_RESTARTS = 6  # without progress: one line can crash this many workers before it is found
STOP_SECONDS = 20.0

_READ_BYTES = 2**12

# Exit codes of a worker that has reported an error for the user.
_REPORTED = (ExitCode.INVALID_INPUT, ExitCode.STORE_UNAVAILABLE, ExitCode.STORE_DAMAGED)


@dataclass(frozen=True)
class _Worker:
    """A worker process, and the pipe on which it reports that its model is loaded."""

    process: subprocess.Popen[bytes]
    log: Path
    ready: int  # a file descriptor
    said: bytearray = field(default_factory=bytearray)  # what has come from the pipe

    def was_ready(self) -> bool:
        """Return whether the worker had loaded its model before it ended."""
        self._read()
        return bool(self.said)

    def notices(self) -> list[str]:
        """Return what the worker has told the user so far: nothing until its model is loaded."""
        self._read()
        return [line for line in self.said.decode(errors="replace").split("\n")[:-1] if line]

    def _read(self) -> None:
        with suppress(BlockingIOError):  # the worker, or a child of it, is alive and holds the other end
            while piece := os.read(self.ready, _READ_BYTES):
                self.said.extend(piece)

    def close(self) -> None:
        """Kill the worker if it still runs, and close the pipe."""
        self.process.kill()
        self.process.wait()
        os.close(self.ready)


class LocalWorkers:
    """Worker processes as a context manager. They end with the block, or when this process dies.

    Args:
        settings: Passed to the workers in their environment. No command line has a password.
        number: Number of workers. They share the CPU's cores unless `settings.threads` is set.
        log_folder: Folder for each worker's output, `worker-N.log`.
        say: Called with a line for the user when a worker has crashed and is started again.
        notify: Called once with each notice that workers have for the user after they have loaded the model.
    """

    def __init__(
        self,
        settings: Settings,
        number: int,
        log_folder: Path,
        say: Callable[[str], None] = lambda _: None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environment = _environment(settings, number)
        self._logs = [log_folder / f"worker-{index}.log" for index in range(1, number + 1)]
        self._workers: list[_Worker] = []
        self._say = say
        self._notify = notify
        self._notices: set[str] = set()  # those that the user knows
        self._restarts = 0  # restarts since the latest finished line
        self._lines_done = 0

    def __enter__(self) -> Self:
        for log in self._logs:
            log.unlink(missing_ok=True)
            self._workers.append(self._start(log))
        return self

    def __exit__(self, *_: object) -> None:
        self.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for worker in self._workers:
                worker.process.wait(max(deadline - time.monotonic(), 0))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # at a second Ctrl-C, do not wait
            pass
        finally:
            for worker in self._workers:
                worker.close()
            self._workers.clear()

    def check(self, lines_done: int) -> None:
        """Pass on notices, and restart crashed workers, at most `MAX_RESTARTS` times without progress in `lines_done`.

        A worker that crashes while it runs lines is restarted, to find the line that crashes it. A worker that fails
        while it loads its model is not restarted, because it would fail again.

        Raises:
            LocalWorkerFailed: A worker failed before its model was loaded, or workers crashed too often.
        """
        if lines_done > self._lines_done:
            self._lines_done, self._restarts = lines_done, 0
        for index, worker in enumerate(self._workers):
            self._pass_on(worker.notices())
            status = worker.process.poll()
            if status is None:
                continue
            if status in _REPORTED:
                raise LocalWorkerFailed.with_its_error(worker.log, ExitCode(status))
            if not worker.was_ready():
                raise LocalWorkerFailed.while_loading(worker.log, status)
            if self._restarts == MAX_RESTARTS:
                raise LocalWorkerFailed.after_crashes(worker.log, status, MAX_RESTARTS + 1)
            self._restarts += 1
            self._say(f"A worker {ending(status)} and is started again. {last_line(worker.log)}")
            worker.close()
            self._workers[index] = self._start(worker.log)

    def _pass_on(self, notices: list[str]) -> None:
        for notice in notices:
            if notice not in self._notices:
                self._notices.add(notice)
                self._notify(notice)

    def ask_to_stop(self) -> None:
        """Ask the workers to store their finished lines and to end. Does not wait for the workers."""
        for worker in self._workers:
            worker.process.send_signal(signal.SIGTERM)

    def _start(self, log: Path) -> _Worker:
        # -P: do not import a folder named `cli` or `worker` from the current folder.
        program = [sys.executable, "-P", "-m", "cli.main", "worker"]
        with log.open("ab") as output, _pipe() as (ready, says_ready):
            process = tether.on_a_lasting_thread(
                lambda: subprocess.Popen(
                    tether.command(program, signal.SIGKILL),  # the store dies with it, so the worker could save nothing
                    env=self._environment | {PREFIX + "READY_FD": str(says_ready)},
                    pass_fds=(says_ready,),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    process_group=0,  # keeps Ctrl-C at the terminal from the worker; this process handles it
                )
            )
            return _Worker(process, log, os.dup(ready))


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe whose reading end does not block. Both ends are closed at the end of the block."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def _environment(settings: Settings, number: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    own = settings.as_env()
    if number > 1 and settings.threads is None:
        own[PREFIX + "THREADS"] = str(max((os.cpu_count() or 1) // number, 1))
    return inherited | own
