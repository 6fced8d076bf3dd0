"""`qwen-batch serve --with-worker` in processes of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import tether
from testing.processes.command_line import REPOSITORY, command, environment

PATIENCE_SECONDS = 600.0  # a first start compiles the kernels


@contextmanager
def serving_with_worker(state: Path, log: Path) -> Iterator[str]:
    """Start the service, and wait for its demo model. Yields the address. Stops the service at the end of the block.

    Args:
        state: Folder for the store and the files.
        log: Receives what the service writes.
    """
    program = command("serve", "--with-worker", "--port", "0")
    with log.open("wb") as output:
        process = subprocess.Popen(
            tether.command(program, signal.SIGTERM),
            cwd=REPOSITORY,
            env=environment(state),
            stdout=output,
            stderr=output,
        )
    try:
        yield _ready(process, log)
    finally:
        process.terminate()
        process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = re.search(r"Serving (http\S+)/v1", log.read_text())
        if found is not None and _models(found[1]):
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)  # nobody tells when a file grows or a model is there


def _models(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}/v1/models", timeout=60) as answer:  # noqa: S310 - our own service
        return [model["id"] for model in json.load(answer)["data"]]
