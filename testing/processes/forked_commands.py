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
from pathlib import Path

from testing.processes.forking_server import Order, forking_server, serve_forks

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

_WITH_PYTORCH = ("generate", "worker")  # these commands use it themselves

# What an interpreter reads when it starts. A fork cannot take it into account.
_FOR_NEW_INTERPRETERS = ("PYTHON", "LC_", "LANG", "LD_")


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
    order = Order("cli.main:main", WORDS, tuple(words), dict(environment), str(folder))
    modules = "workers" if words and words[0] in _WITH_PYTORCH else "commands"
    return forking_server(f"testing.processes.forked_{modules}").run(order, stdin, timeout)


def can_be_forked(environment: Mapping[str, str]) -> bool:
    """Return False if a command needs a new interpreter, because what it reads at its start differs from ours."""
    names = (name for name in {*environment, *os.environ} if name.startswith(_FOR_NEW_INTERPRETERS))
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
    command = serve_forks(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        command()
