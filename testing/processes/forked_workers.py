"""Starts workers, and other code, in processes that have PyTorch and the worker's modules already.

A new interpreter needs more than three seconds of processor time for them, and the tests start dozens of workers. So
one process imports them once, and a fork of it becomes each worker. The imports start no thread, and nothing has run in
PyTorch yet, so a fork is as good as a new process.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from testing.processes.forking_server import (
    REPOSITORY,
    ForkedProcess,
    ForkingServer,
    Order,
    forking_server,
    serve_forks,
)

# A worker, the commands that use PyTorch, and what they and Celery import only when they use it.
_IMPORTED = (
    *("worker.main", "engine.load", "jobs.queue.celery_hints"),
    *("cli.main", "cli.commands.machines.worker", "cli.commands.offline.generate"),
    *("celery.app.amqp", "celery.app.builtins", "celery.backends.base", "celery.fixups.django"),
    *("celery.worker.worker", "kombu.transport.redis"),
)


def start_worker(code: str, environment: Mapping[str, str], log: BinaryIO) -> ForkedProcess:
    """Start a process that runs `code` as `python -c` does, in the repository.

    Args:
        code: Python code, which ends by running a worker.
        environment: The whole environment of the process.
        log: File that receives what the process writes.
    """
    stdin = os.open(os.devnull, os.O_RDONLY)
    try:
        return _server().start(_order(code, (), environment), (stdin, log.fileno(), log.fileno()))
    finally:
        os.close(stdin)


def run_with_pytorch(code: str, *words: str | Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `code` with these arguments to its end, in a process that has PyTorch and none of our operators."""
    done = _server().run(_order(code, words, environment))
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _order(code: str, words: Sequence[str | Path], environment: Mapping[str, str]) -> Order:
    start = (sys.executable, "-c")
    return Order(f"{__name__}:run_code", start, (code, *map(str, words)), dict(environment), str(REPOSITORY))


def run_code() -> None:
    """Run the code that is the process's first argument."""
    code = sys.argv.pop(1)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - the code of a test


def _server() -> ForkingServer:
    return forking_server("testing.processes.forked_workers")


def _import_worker() -> None:
    """Import what a worker would import, PyTorch included."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy would start threads
    for name in _IMPORTED:
        importlib.import_module(name)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("an import started a thread, which does not survive a fork")


if __name__ == "__main__":
    _import_worker()
    run = serve_forks(int(sys.argv[1]), int(sys.argv[2]))
    if run is not None:
        run()
