"""Starts commands of `qwen-batch` in processes that have the command line's modules already.

A new interpreter needs 0.3 s of processor time for these modules, and the tests start hundreds of commands. So one
process imports them once, and a fork of it becomes each command. The fork has the words, the environment, the folder
and the standard streams of a command that was started anew, and it ends like one.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

WORDS = (sys.executable, "-P", "-m", "cli.main")  # how a command is started anew
TIMEOUT = 240.0  # seconds

# What commands import only when they use it: the store, the queue (Celery imports a good part of itself on demand), and
# tokenizers. PyArrow is not among them, because it starts threads, which do not survive a fork.
_IMPORTED_ON_USE = (
    *("jobs.stores.connect", "jobs.queue.celery_hints"),
    *("celery.app.amqp", "celery.app.builtins", "celery.backends.base", "celery.fixups.django"),
    *("celery.worker.worker", "kombu.transport.redis"),
    *("email.parser", "encodings.idna", "tokenizers"),
)

# What an interpreter reads when it starts. A fork cannot take it into account.
_FOR_NEW_INTERPRETERS = ("PYTHON", "LC_", "LANG", "LD_")


class ForkingServer:
    """A process whose forks become commands."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command to its end.

        Args:
            words: Command and options, without the program's name.
            environment: The whole environment of the command.
            folder: Working folder of the command.
            stdin: Content of its standard input.
        """
        order = json.dumps({"words": list(words), "environment": dict(environment), "folder": str(folder)}).encode()
        (in_read, in_write), (out_read, out_write), (err_read, err_write), (said_read, said_write) = (
            os.pipe() for _ in range(4)
        )
        order_file = os.memfd_create("order")
        os.write(order_file, order)
        given = (order_file, in_read, out_write, err_write, said_write)
        socket.send_fds(self._control, [b"!"], given)
        for descriptor in given:
            os.close(descriptor)
        with os.fdopen(said_read, encoding="ascii") as said, ThreadPoolExecutor(3) as threads:
            pid = int(said.readline())
            killer = Timer(TIMEOUT, lambda: os.kill(pid, signal.SIGKILL))
            killer.start()
            try:
                threads.submit(_write_all, in_write, stdin)
                output, errors = threads.submit(_read_all, out_read), threads.submit(_read_all, err_read)
                code = int(said.readline())
                return subprocess.CompletedProcess([*WORDS, *words], code, output.result(), errors.result())
            finally:
                killer.cancel()


@contextmanager
def forking_server() -> Iterator[ForkingServer]:
    """Start the process, and stop it at the end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "testing.processes.forked_commands", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[2],
        )
        theirs.close()
        try:
            yield ForkingServer(ours)
        finally:
            process.kill()
            process.wait()


def can_be_forked(changes: Mapping[str, str]) -> bool:
    """Return False if these variables concern the start of the interpreter, so that a command needs a new one."""
    return not any(name.startswith(_FOR_NEW_INTERPRETERS) for name in changes)


def _write_all(descriptor: int, content: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(content)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


def _serve(control: socket.socket) -> Callable[[], None] | None:
    """Fork for each order. Returns None in the server at its end, and the command to run in a fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then forgets ended children
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 5)
        if not message:
            return None
        if os.fork() == 0:
            control.close()
            return _supervise(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _supervise(order_file: int, stdin: int, stdout: int, stderr: int, said: int) -> Callable[[], None]:
    """Fork the command and report its process id and its exit code. Returns in the command alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(order_file, "rb") as file:
        file.seek(0)
        order = json.load(file)
    pid = os.fork()
    if pid == 0:
        os.close(said)
        return _command(order, (stdin, stdout, stderr))
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    with open(said, "w", encoding="ascii", buffering=1) as report:
        report.write(f"{pid}\n")
        report.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
    os._exit(0)


def _command(order: dict[str, object], streams: tuple[int, int, int]) -> Callable[[], None]:
    """Make this process the command: its streams, folder, environment and words. Returns what is left to call."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the rest of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    words, environment = order["words"], order["environment"]
    assert isinstance(words, list)
    assert isinstance(environment, dict)
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [WORDS[-1], *words]
    sys.orig_argv = [*WORDS, *words]
    main: Callable[[], None] = importlib.import_module("cli.main").main
    return main


def _import_command_line() -> None:
    """Import what the commands would import: the module of each command, and what it imports when it runs."""
    commands = importlib.import_module("cli.commands")
    for module in pkgutil.walk_packages(commands.__path__, "cli.commands."):
        importlib.import_module(module.name)
    importlib.import_module("cli.main")
    for name in _IMPORTED_ON_USE:
        importlib.import_module(name)
    if "torch" in sys.modules:
        raise RuntimeError("PyTorch was imported; its threads do not survive a fork")


if __name__ == "__main__":
    _import_command_line()
    command = _serve(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        command()
