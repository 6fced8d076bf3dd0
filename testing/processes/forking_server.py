"""A process that has imported modules, and whose forks become the processes that tests start."""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import marshal
import os
import runpy
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
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parents[2]
_MOST_FILES = 16  # descriptors in one order
_ABOVE = 100  # descriptors from here on are no process's standard streams or passed files


@dataclass(frozen=True)
class Order:
    """What a fork becomes."""

    main: str  # the function to call, as "module:function"
    start: tuple[str, ...]  # the words that start the same program in a new interpreter
    words: tuple[str, ...]  # what follows them
    environment: dict[str, str]  # all of it
    folder: str  # working folder
    passed: tuple[int, ...] = ()  # descriptors of open files besides the standard streams
    interpreter: str = sys.executable  # the value of `sys.executable`


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
    """The side of the tests: it sends orders to the process that forks.

    Args:
        control: Connection to that process.
        door: Socket on which other processes send orders.
    """

    def __init__(self, control: socket.socket, door: Path) -> None:
        self._control = control
        self.door = door

    def start(self, order: Order, streams: Sequence[int]) -> ForkedProcess:
        """Start a process. `streams` are descriptors of its standard input, output and errors, which stay open here."""
        said_read, said_write = os.pipe()
        order_file = os.memfd_create("order")
        os.write(order_file, marshal.dumps(asdict(order)))
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
    with TemporaryDirectory(prefix="forks-") as folder, ours, theirs, socket.socket(socket.AF_UNIX) as listening:
        door = Path(folder) / "door"
        listening.bind(str(door))
        listening.listen()
        descriptors = (theirs.fileno(), listening.fileno())
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
        )
        theirs.close()
        listening.close()
        try:
            yield ForkingServer(ours, door)
        finally:
            process.kill()
            process.wait()


def serve_forks(control: int, door: int) -> Callable[[], object] | None:
    """Fork for each order. Returns None in the server at its end, and what is left to call in a fork.

    Args:
        control: Descriptor of a connection. The server ends when its other side is closed.
        door: Descriptor of a listening socket. Each connection to it carries one order.
    """
    gc.collect()
    gc.freeze()  # a fork's garbage collector would visit all that was imported, and so copy its memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then forgets ended children
    with socket.socket(fileno=control) as orders, socket.socket(fileno=door) as others:
        for descriptors in _orders(orders, others):
            if os.fork() == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            return None
    return _supervise(*descriptors)


def _orders(control: socket.socket, door: socket.socket) -> Iterator[list[int]]:
    """Yield the descriptors of each order."""
    while True:
        for ready in select.select([control, door], [], [])[0]:
            with ready.accept()[0] if ready is door else ready.dup() as source:
                message, descriptors, _, _ = socket.recv_fds(source, 1, _MOST_FILES)
            if message:
                yield descriptors
            elif ready is control:
                return


def _supervise(order_file: int, stdin: int, stdout: int, stderr: int, said: int, *passed: int) -> Callable[[], object]:
    """Fork again, and report the process id and the exit code. Returns in the second fork alone.

    When nobody can read the report any more, the second fork is killed.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(order_file, "rb") as file:
        file.seek(0)
        order = Order(**marshal.load(file))  # noqa: S302 - written by our own tests
    pid = os.fork()
    if pid == 0:
        os.close(said)
        return _become(order, (stdin, stdout, stderr, *passed))
    for descriptor in (stdin, stdout, stderr, *passed):
        os.close(descriptor)
    with suppress(BrokenPipeError):
        os.write(said, f"{pid}\n".encode())
    _wait_while_read(pid, said)
    with suppress(BrokenPipeError):
        os.write(said, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def _wait_while_read(pid: int, said: int) -> None:
    """Return when a process has ended. If the reader of the pipe `said` goes away before, kill the process."""
    process, events = os.pidfd_open(pid), select.poll()
    events.register(process, select.POLLIN)
    events.register(said, 0)  # an error is reported in any case
    if process not in dict(events.poll()):
        os.kill(pid, signal.SIGKILL)


def _become(order: Order, files: Sequence[int]) -> Callable[[], object]:
    """Give this process its open files, folder, environment and words. Returns the function to call."""
    _place(files, (0, 1, 2, *order.passed))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the rest of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.executable = order.interpreter
    sys.argv = [order.start[-1], *order.words]
    sys.orig_argv = [*order.start, *order.words]
    module, _, function = order.main.partition(":")
    main: Callable[[], object] = getattr(importlib.import_module(module), function)
    return main


def _place(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files these descriptors, which a program that this process starts inherits."""
    apart = [fcntl.fcntl(file, fcntl.F_DUPFD, _ABOVE) for file in files]  # no number is taken twice
    for file in files:
        os.close(file)
    for file, number in zip(apart, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def run_module() -> None:
    """Run the module whose name is the process's first argument, as `python -m` does."""
    del sys.argv[0]
    name = sys.argv[0]
    sys.modules.pop(name, None)  # it may have been imported under this name, and runs as `__main__`
    runpy.run_module(name, run_name="__main__", alter_sys=True)
