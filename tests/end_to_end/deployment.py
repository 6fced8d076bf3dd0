"""What a person sets up: a server, workers of the demo model, and commands in other terminals."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from jobs.stores.connect import connect
from testing.processes.command_line import REPOSITORY, environment, qwen_batch
from testing.processes.forked_commands import StartedCommand
from testing.processes.valkey import ValkeyProcess

PATIENCE_SECONDS = 120


class Deployment:
    """Terminals that share one server; every process is a `qwen-batch` of its own.

    Args:
        server: Running.
        folder: For what the workers write.
    """

    def __init__(self, server: ValkeyProcess, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self.env = environment(
            folder / "state",
            QWEN_BATCH_REDIS_URL=server.url,
            QWEN_BATCH_COMPILE="false",  # seconds instead of half a minute; what compiling changes is tested elsewhere
            QWEN_BATCH_THREADS="1",
            QWEN_BATCH_KV_CACHE_MEMORY="64MiB",
        )

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return qwen_batch(*words, "-q", env=self.env)

    def json(self, *words: str | Path) -> Any:
        """What a reading command answers with `--json`."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, *words: str | Path) -> str:
        """The id of a new job."""
        done = self("submit", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def results(self, job_id: str, *words: str) -> list[Any]:
        """The lines that `results` writes to stdout."""
        done = self("results", job_id, *words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def terminal(self, *words: str | Path) -> Iterator[StartedCommand]:
        """A command that runs beside the others; its stdout can be read while it does."""
        with (self._folder / "terminal.log").open("a") as log:
            process = StartedCommand([*map(str, words)], self.env, REPOSITORY, log.fileno())
        with closing(process):
            yield process

    @contextmanager
    def workers(self, number: int, *words: str) -> Iterator[None]:
        """So many workers, ready; SIGTERM ends them, and each must end well."""
        with ExitStack() as stack:
            processes = [stack.enter_context(self.terminal("worker", *words)) for _ in range(number)]
            self._wait_until_ready({process.pid for process in processes})
            yield
            for process in processes:
                process.send_signal(signal.SIGTERM)
            assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0] * number

    def _wait_until_ready(self, pids: set[int]) -> None:
        """Poll the store, which costs less than a command each time. The command `workers` then says the same."""
        fleet, deadline = connect(self.server.url).fleet, time.monotonic() + PATIENCE_SECONDS
        while not pids <= {report.pid for report in fleet.workers() if report.state != "loading"}:
            assert time.monotonic() < deadline, (self._folder / "terminal.log").read_text()
            time.sleep(0.02)  # a report is all that another process can see
        assert pids <= {report["pid"] for report in self.json("workers") if report["state"] != "loading"}
