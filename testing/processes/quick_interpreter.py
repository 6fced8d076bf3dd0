"""Writes a program that stands for the Python interpreter and starts our programs as forks.

`run` starts workers, `serve` starts HTTP processes and clerks, and templates are rendered by helpers. A new interpreter
for one of them takes from 0.2 to 3 s of processor time, and the tests start hundreds.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from testing.processes.forking_server import forking_server
from testing.processes.stand_in import FOR_NEW_INTERPRETERS, Program

_STAND_IN = Path(__file__).with_name("stand_in.py")
# Not `model.text.tokenizer_probe`: it limits its whole memory, which a fork shares with what was imported.
_MODULES = (
    *("server.http_process", "server.clerk.main", "server.clerk.import_batch", "server.clerk.finish_batch"),
    "jobs.templates.template_server",
)
WITH_PYTORCH = ("generate", "worker")  # these commands use it themselves


@cache
def quick_interpreter(*, workers: bool = True) -> str:
    """Return the path of a program that can take the place of `sys.executable`, until this process ends.

    Args:
        workers: True if it also starts workers as forks. Their forking server takes seconds to start.
    """
    program = ("-P", "-m", "cli.main")
    return _written("python", [*_commands(program, workers), *map(_module, _MODULES)])


@cache
def quick_command() -> str:
    """Return the path of a program that can take the place of the command `qwen-batch`, until this process ends."""
    return _written("qwen-batch", _commands((), workers=True), quick_interpreter())


def _commands(start: tuple[str, ...], workers: bool) -> list[Program]:
    main = "cli.main:main"
    doors = {word: _door("workers") for word in WITH_PYTORCH if workers}
    return [(start, (word,), main, door) for word, door in doors.items()] + [(start, (), main, _door("commands"))]


def _module(name: str) -> Program:
    return ("-P", "-m"), (name,), "testing.processes.forking_server:run_module", _door("commands")


def _door(server: str) -> str:
    return str(forking_server(f"testing.processes.forked_{server}").door)


def _written(name: str, programs: list[Program], quick: str | None = None) -> str:
    """Write a program that stands for another one. What its forks take for the interpreter is `quick`, or itself."""
    expected = {name: value for name, value in os.environ.items() if name.startswith(FOR_NEW_INTERPRETERS)}
    folder = mkdtemp(prefix="stand-in-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / name
    path.write_text(
        f"#!{sys.executable} -IS\n"  # without the user's settings and without packages
        f"import sys\nsys.path.append({str(_STAND_IN.parent)!r})\nimport stand_in\n"
        f"stand_in.main({sys.executable!r}, {programs!r}, {expected!r}, {quick or str(path)!r})\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return str(path)
