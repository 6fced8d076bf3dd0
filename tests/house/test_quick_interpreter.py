"""What tests start as forks behaves like programs of a new interpreter: its words, its end and its open files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from testing.processes.quick_interpreter import quick_interpreter

HELPER = ("-P", "-m", "jobs.templates.template_server")  # it waits for its standard input
COMMAND = ("-P", "-m", "cli.main")


def ended(*words: str, interpreter: str | None = None) -> tuple[int, bytes, bytes]:
    """The exit code of a program, and what it has written."""
    done = subprocess.run(
        [interpreter or quick_interpreter(workers=False), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_fork_says_what_a_new_interpreter_says_and_ends_like_it() -> None:
    for words in (["--version"], ["watch"], ["status", "job", "--redis-url", "redis://127.0.0.1:1/0"]):
        assert ended(*COMMAND, *words) == ended(*COMMAND, *words, interpreter=sys.executable)


def test_words_that_start_no_known_program_go_to_the_interpreter() -> None:
    script = "import sys; print(sys.executable); sys.exit(3)"
    assert ended("-c", script) == (3, f"{sys.executable}\n".encode(), b"")


def test_a_fork_holds_the_files_that_were_passed_to_it_until_it_ends() -> None:
    reader, writer = os.pipe()
    command = [quick_interpreter(workers=False), *HELPER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writer,)) as process:
        os.close(writer)
        os.set_blocking(reader, False)
        while (held := holds_its_end(reader)) and not passes_signals_on(process.pid):
            os.sched_yield()
        assert held
    assert process.returncode == 0
    assert not holds_its_end(reader)
    os.close(reader)


def test_a_fork_is_killed_with_the_process_that_stands_for_it() -> None:
    reader, writer = os.pipe()
    command = [quick_interpreter(workers=False), *HELPER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writer,)) as process:
        os.close(writer)
        while not passes_signals_on(process.pid):
            os.sched_yield()
        process.kill()
        assert os.read(reader, 1) == b""  # waits until nobody holds the other end
    assert process.returncode == -signal.SIGKILL
    os.close(reader)


def holds_its_end(reader: int) -> bool:
    """Return whether somebody holds the other end of a pipe that does not block."""
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


def passes_signals_on(pid: int) -> bool:
    """Return whether a process has a handler for SIGTERM, as one that stands for a running fork has."""
    with Path(f"/proc/{pid}/status").open(encoding="ascii") as status:
        (caught,) = (line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
