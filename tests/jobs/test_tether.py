"""A tethered program ends with its parent, however the parent ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobs import tether

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
    parent = subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == b"1\n"
        parent.kill()
        parent.wait()
        assert output.read() == b""  # ends when nobody holds the pipe: the program is gone


@pytest.mark.skipif(sys.platform != "linux", reason="other systems watch the process, not the thread")
def test_a_program_outlives_the_thread_that_had_it_started() -> None:
    processes: list[subprocess.Popen[bytes]] = []
    echoes = [sys.executable, "-P", "-c", "print(input(), flush=True); print(input())"]

    def start() -> None:
        process = tether.on_a_lasting_thread(
            lambda: subprocess.Popen(
                tether.command(echoes, signal.SIGKILL), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        processes.append(process)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"the kernel watches the thread now\n")
        process.stdin.flush()
        process.stdout.readline()

    thread = threading.Thread(target=start)
    thread.start()
    own = Path(f"/proc/self/task/{thread.native_id}")
    thread.join()
    while own.exists():  # only then the kernel has ended what the thread started
        time.sleep(0.01)
    output, _ = processes[0].communicate(b"still here\n", timeout=60)
    assert output == b"still here\n"
    assert processes[0].returncode == 0


def test_an_error_of_the_start_reaches_the_caller() -> None:
    with pytest.raises(FileNotFoundError):
        tether.on_a_lasting_thread(lambda: subprocess.Popen(["/no/such/program"]))


def test_the_exit_status_is_the_programs() -> None:
    script = (
        "import signal, subprocess, sys\nfrom jobs import tether\n"
        "program = [sys.executable, '-c', 'raise SystemExit(7)']\n"
        "sys.exit(subprocess.call(tether.command(program, signal.SIGTERM)))"
    )
    assert subprocess.call([sys.executable, "-P", "-c", script]) == 7
