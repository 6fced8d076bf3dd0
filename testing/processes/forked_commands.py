"""Starts commands of `qwen-batch` in processes that have the command line's modules already.

A new interpreter needs 0.3 s of processor time for these modules, and the tests start hundreds of commands. So one
process imports them once, and a fork of it becomes each command. The fork has the words, the environment, the folder
and the standard streams of a command that was started anew, and it ends like one.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testing.processes.forking_server import ForkingServer, Order, forking_server, serve_forks
from testing.processes.quick_interpreter import WITH_PYTORCH, quick_interpreter
from testing.processes.stand_in import FOR_NEW_INTERPRETERS

WORDS = (sys.executable, "-P", "-m", "cli.main")  # how a command is started anew
TIMEOUT = 240.0  # seconds

# What commands import only when they use it: the store, the queue (Celery imports a good part of itself on demand), and
# tokenizers. PyArrow is not among them, because it starts threads, which do not survive a fork. The last two lines are
# the programs of the service and of helpers, and what these import on demand.
_IMPORTED_ON_USE = (
    *("jobs.stores.connect", "jobs.queue.celery_hints"),
    *("celery.app.amqp", "celery.app.builtins", "celery.backends.base", "celery.fixups.django"),
    *("celery.worker.worker", "kombu.transport.redis"),
    *("email.parser", "encodings.idna", "tokenizers"),
    *("server.http_process", "server.clerk.main", "server.clerk.import_batch", "server.clerk.finish_batch"),
    *("uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl", "jobs.templates.template_server"),
)


def run_command(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, stdin: bytes = b"", timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end.

    Args:
        words: Command and options, without the program's name.
        environment: The whole environment of the command. `can_be_forked` is true of it.
        folder: Working folder of the command.
        stdin: Content of its standard input.
        timeout: Seconds after which the command is killed.
    """
    order = _order(words, environment, folder)
    return _server_of(words).run(order, stdin, timeout)


class StartedCommand:
    """A command that runs, with the parts of `subprocess.Popen[str]` that its users need.

    Args:
        words: Command and options, without the program's name.
        environment: The whole environment of the command. `can_be_forked` is true of it.
        folder: Working folder of the command.
        stderr: Descriptor that gets what the command writes to its standard error. None for a pipe.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path, stderr: int | None = None
    ) -> None:
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        stdin = os.open(os.devnull, os.O_RDONLY)
        streams = (stdin, out_write, err_write if stderr is None else stderr)
        self._process = _server_of(words).start(_order(words, environment, folder), streams)
        for descriptor in (stdin, out_write, err_write):
            os.close(descriptor)
        self.pid = self._process.pid
        self.poll, self.wait = self._process.poll, self._process.wait
        self.send_signal, self.kill = self._process.send_signal, self._process.kill
        self.stdout, self.stderr = os.fdopen(out_read, encoding="utf-8"), os.fdopen(err_read, encoding="utf-8")

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while the command runs."""
        return self.poll()

    def communicate(self, timeout: float = TIMEOUT) -> tuple[str, str]:
        """Wait for the end of the command. Returns the rest of what it has written: to its output, and of errors."""
        with ThreadPoolExecutor(2) as threads:
            rest = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return rest[0].result(), rest[1].result()

    def close(self) -> None:
        """Kill the command if it still runs."""
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()


def _order(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Order:
    """Describe a command. What it starts itself becomes a fork, too."""
    interpreter = quick_interpreter(workers=tuple(words[:1]) in (("run",), ("serve",)))
    return Order("cli.main:main", WORDS, tuple(words), dict(environment), str(folder), interpreter=interpreter)


def _server_of(words: Sequence[str]) -> ForkingServer:
    modules = "workers" if words and words[0] in WITH_PYTORCH else "commands"
    return forking_server(f"testing.processes.forked_{modules}")


def can_be_forked(environment: Mapping[str, str]) -> bool:
    """Return False if a command needs a new interpreter, because what it reads at its start differs from ours."""
    names = (name for name in {*environment, *os.environ} if name.startswith(FOR_NEW_INTERPRETERS))
    return all(environment.get(name) == os.environ.get(name) for name in names)


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
    command = serve_forks(int(sys.argv[1]), int(sys.argv[2]))
    if command is not None:
        command()
