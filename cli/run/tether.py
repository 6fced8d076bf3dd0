"""Runs a program that ends when its parent does, however the parent ends.

    python tether.py PARENT_PID SIGNAL PROGRAM [ARGUMENT …]

A file of its own that needs only the standard library: it starts in a few milliseconds and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_SECONDS = 0.2


def command(program: Sequence[str], ending: signal.Signals) -> list[str]:
    """The command line that runs `program` tethered to this process; `ending` is the signal it gets at the end."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(ending)), *program]


def become(parent: int, ending: signal.Signals, program: Sequence[str]) -> None:
    """Linux: the kernel sends `ending` when the parent dies; this process turns into the program."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(ending), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        sys.exit(1)
    os.execv(program[0], list(program))  # noqa: S606 - a program of our own, and no shell is wanted


def supervise(parent: int, ending: signal.Signals, program: Sequence[str]) -> int:
    """Elsewhere: stay, look whether the parent is there, pass signals on. Returns the program's exit status."""
    child = subprocess.Popen(program, close_fds=False)  # what was passed to this process is meant for the program

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
    parent, ending, program = int(arguments[0]), signal.Signals(int(arguments[1])), arguments[2:]
    if sys.platform == "linux":
        become(parent, ending, program)
    return supervise(parent, ending, program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
