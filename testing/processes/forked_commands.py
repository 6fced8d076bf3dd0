"""Starts commands of `qwen-batch` in processes that have the command line's modules already.

A new interpreter needs 0.3 s of processor time for these modules, and the tests start hundreds of commands. So one
process imports them once, and a fork of it becomes each command. The fork has the words, the environment, the folder
and the standard streams of a command that was started anew, and it ends like one.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from testing.processes.forking_server import ForkedProcess, ForkingServer, Order, serve_forks

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


def run_command(
    server: ForkingServer, words: Sequence[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end.

    Args:
        server: A process that has the command line's modules: `forking_server("testing.processes.forked_commands")`.
        words: Command and options, without the program's name.
        environment: The whole environment of the command.
        folder: Working folder of the command.
        stdin: Content of its standard input.
    """
    order = Order("cli.main:main", WORDS, tuple(words), dict(environment), str(folder))
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
    given = (in_read, out_write, err_write)
    process = server.start(order, given)
    for descriptor in given:
        os.close(descriptor)
    with ThreadPoolExecutor(3) as threads:
        threads.submit(_write_all, in_write, stdin)
        output, errors = threads.submit(_read_all, out_read), threads.submit(_read_all, err_read)
        code = _exit_code(process)
        return subprocess.CompletedProcess([*WORDS, *words], code, output.result(), errors.result())


def can_be_forked(changes: Mapping[str, str]) -> bool:
    """Return False if these variables concern the start of the interpreter, so that a command needs a new one."""
    return not any(name.startswith(_FOR_NEW_INTERPRETERS) for name in changes)


def _exit_code(process: ForkedProcess) -> int:
    """Return the exit code of a command, which is killed if it takes too long."""
    try:
        return process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _write_all(descriptor: int, content: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(content)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


def import_command_line() -> None:
    """Import what the commands would import: the module of each command, and what it imports when it runs."""
    commands = importlib.import_module("cli.commands")
    for module in pkgutil.walk_packages(commands.__path__, "cli.commands."):
        importlib.import_module(module.name)
    importlib.import_module("cli.main")
    for name in _IMPORTED_ON_USE:
        importlib.import_module(name)
    if "torch" in sys.modules:
        raise RuntimeError("PyTorch was imported; commands are to be tested without it")


if __name__ == "__main__":
    import_command_line()
    command = serve_forks(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        command()
