"""Runs a program that ends when its parent ends, even if the parent is killed.

    python tether.py PARENT_PID SIGNAL PROGRAM [ARGUMENT …]

This file imports only the standard library, and so starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_SECONDS = 0.2


def command(program: Sequence[str], ending: signal.Signals) -> list[str]:
    """Return a command line that runs `program` until this process ends. `program` then gets the signal `ending`.

    Linux does not watch the process but the thread that runs the command line. A thread that may end earlier must leave
    the start to `on_a_lasting_thread`.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(ending)), *program]


def on_a_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Call `start` on a thread that lives as long as the program that it starts. Returns that program's process.

    Raises the error of `start`.
    """
    started: queue.SimpleQueue[subprocess.Popen[bytes] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            process = start()
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it again
            started.put(error)
            return
        started.put(process)
        if sys.platform == "linux":
            with suppress(ChildProcessError):  # somebody has asked for its exit status already
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=run, name="tether", daemon=True).start()
    result = started.get()
    if isinstance(result, BaseException):
        raise result
    return result


def become(parent: int, ending: signal.Signals, program: Sequence[str]) -> None:
    """On Linux: replace this process by the program. The kernel sends it `ending` when the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(ending), 0, 0, 0)
    if os.getppid() != parent:  # the parent died before the kernel was told to watch it
        sys.exit(1)
    os.execv(program[0], list(program))  # noqa: S606 - a program of our own, and no shell is wanted


def supervise(parent: int, ending: signal.Signals, program: Sequence[str]) -> int:
    """On other systems: watch the parent and forward signals. Returns the program's exit status."""
    child = subprocess.Popen(program, close_fds=False)  # pass on the open files that are meant for the program

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    while child.poll() is None and os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if child.poll() is None:
        child.send_signal(ending)
    status = child.wait()
    return status if status >= 0 else 128 - status


def main(arguments: Sequence[str]) -> int:
    """Run a program for a parent. `arguments` are the parent's process id, a signal, and the program's words."""
    parent, ending, program = int(arguments[0]), signal.Signals(int(arguments[1])), arguments[2:]
    if sys.platform == "linux":
        become(parent, ending, program)
    return supervise(parent, ending, program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
