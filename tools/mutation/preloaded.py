"""Runs pytest many times but loads libraries only once. Loading takes most of the time of a short run.

This program runs in the interpreter of a workspace. It loads the libraries that the tests need, but no code of this
project. Each line on stdin asks for a run, for which the program forks. The fork loads the project's code in its
current state. The answer is two lines: the fork's process id and its exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from contextlib import suppress

LIBRARIES = (
    "celery",
    "click.testing",
    "hypothesis.strategies",
    "jinja2",
    "kombu.transport.redis",
    "msgspec",
    "openai.types.chat",
    "psutil",
    "pytest",
    "redis",
    "rich.progress",
    "safetensors.torch",
    "tokenizers",
    "torch._dynamo",
    "triton.language",
    "zstandard",
)


def serve() -> None:
    """Run pytest for each line of stdin.

    A line is a JSON object: `arguments` for pytest, the file `output`, and additional variables in `environment`.
    """
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(order["arguments"], order["output"], order["environment"])
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(stream, target)
    status = 1
    try:
        import pytest

        status = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder
    serve()
