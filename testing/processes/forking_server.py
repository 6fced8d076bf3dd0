"""A process that has imported modules, and whose forks become the processes that tests start."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Order:
    """What a fork becomes."""

    main: str  # the function to call, as "module:function"
    start: tuple[str, ...]  # the words that start the same program in a new interpreter
    words: tuple[str, ...]  # what follows them
    environment: dict[str, str]  # all of it
    folder: str  # working folder


class ForkedProcess:
    """A fork that runs, with the methods of `subprocess.Popen` that its users need.

    Args:
        said: Pipe on which the fork's supervisor writes the process id, and then the exit code, a line each.
    """

    def __init__(self, said: int) -> None:
        self._said = os.fdopen(said, "rb", buffering=0)  # nothing is read before it is asked for
        self._code: int | None = None
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        if self._code is None:
            if not select.select([self._said], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self._code = int(self._said.readline())
            self._said.close()
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


class ForkingServer:
    """The side of the tests: it sends orders to the process that forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(self, order: Order, streams: Sequence[int]) -> ForkedProcess:
        """Start a process. `streams` are descriptors of its standard input, output and errors, which stay open here."""
        said_read, said_write = os.pipe()
        order_file = os.memfd_create("order")
        os.write(order_file, json.dumps(asdict(order)).encode())
        socket.send_fds(self._control, [b"!"], (order_file, *streams, said_write))
        os.close(order_file)
        os.close(said_write)
        return ForkedProcess(said_read)

    def run(self, order: Order, stdin: bytes = b"", timeout: float = 240) -> subprocess.CompletedProcess[bytes]:
        """Run a process to its end, with `stdin` as its standard input. It is killed after `timeout` seconds."""
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
        given = (in_read, out_write, err_write)
        process = self.start(order, given)
        for descriptor in given:
            os.close(descriptor)
        with ThreadPoolExecutor(3) as threads:
            threads.submit(_write_all, in_write, stdin)
            output, errors = threads.submit(_read_all, out_read), threads.submit(_read_all, err_read)
            code = _exit_code(process, timeout)
            return subprocess.CompletedProcess([*order.start, *order.words], code, output.result(), errors.result())


def _exit_code(process: ForkedProcess, timeout: float) -> int:
    """Return the exit code of a process, which is killed if it takes too long."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _write_all(descriptor: int, content: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(content)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


@cache
def forking_server(module: str) -> ForkingServer:
    """Start a module, whose main part calls `serve_forks`. It runs until this process ends."""
    running = ExitStack()
    atexit.register(running.close)
    return running.enter_context(_running(module))


@contextmanager
def _running(module: str) -> Iterator[ForkingServer]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
        )
        theirs.close()
        try:
            yield ForkingServer(ours)
        finally:
            process.kill()
            process.wait()


def serve_forks(control: socket.socket) -> Callable[[], object] | None:
    """Fork for each order. Returns None in the server at its end, and what is left to call in a fork."""
    gc.collect()
    gc.freeze()  # a fork's garbage collector would visit all that was imported, and so copy its memory
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


def _supervise(order_file: int, stdin: int, stdout: int, stderr: int, said: int) -> Callable[[], object]:
    """Fork again, and report the process id and the exit code. Returns in the second fork alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(order_file, "rb") as file:
        file.seek(0)
        order = Order(**json.load(file))
    pid = os.fork()
    if pid == 0:
        os.close(said)
        return _become(order, (stdin, stdout, stderr))
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    with open(said, "w", encoding="ascii", buffering=1) as report:
        report.write(f"{pid}\n")
        report.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
    os._exit(0)


def _become(order: Order, streams: tuple[int, int, int]) -> Callable[[], object]:
    """Give this process its streams, folder, environment and words. Returns the function to call."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the rest of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = [order.start[-1], *order.words]
    sys.orig_argv = [*order.start, *order.words]
    module, _, function = order.main.partition(":")
    main: Callable[[], object] = getattr(importlib.import_module(module), function)
    return main
