"""A tethered program ends with its parent, however the parent ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = "[sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(30); print(2)']"
START = {
    "as on this system": f"subprocess.Popen(tether.command({PROGRAM}, signal.SIGKILL)).wait()",
    "as where the kernel does not help": (
        "subprocess.Popen([sys.executable, '-c', 'import os, sys, signal; from jobs import tether; "
        f"tether.supervise(int(sys.argv[1]), signal.SIGKILL, {PROGRAM.replace(chr(39), chr(34) * 3)})', "
        "str(os.getpid())]).wait()"
    ),
}


@pytest.mark.parametrize("how", START)
def test_a_program_dies_with_its_killed_parent(how: str) -> None:
    script = f"import os, signal, subprocess, sys\nfrom jobs import tether\n{START[how]}"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == b"1\n"
        parent.kill()
        parent.wait()
        assert output.read() == b""  # ends when nobody holds the pipe: the program is gone


def test_the_exit_status_is_the_programs() -> None:
    script = (
        "import signal, subprocess, sys\nfrom jobs import tether\n"
        "program = [sys.executable, '-c', 'raise SystemExit(7)']\n"
        "sys.exit(subprocess.call(tether.command(program, signal.SIGTERM)))"
    )
    assert subprocess.call([sys.executable, "-c", script]) == 7
