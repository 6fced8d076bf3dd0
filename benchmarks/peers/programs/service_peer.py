"""qwen-batch as a running service: server and worker run already, and each task is submitted as a job.

The time is that of `qwen-batch submit FILE --wait -o FILE`, from the start of the command to its end. It includes the
client's start, checking, storing, waiting and writing the results. It does not include the worker's start, because the
time of a peer does not include its start, either.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.series.version import our_version
from benchmarks.peers.tasks.task import Task
from benchmarks.peers.tasks.task_file import check_results, write_prompts
from jobs.stores.connect import connect
from testing.processes.command_line import command, environment
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

START_SECONDS = 600.0  # limit for a worker's start, which may build kernels and read a cold file cache


class Service:
    """A worker that waits for jobs, and the commands of its users.

    Args:
        url: The server's URL.
        model: The model's folder.
        scratch: Folder for files of prompts and results.
    """

    def __init__(self, url: str, model: Path, scratch: Path) -> None:
        self._environment = environment(scratch / "state", QWEN_BATCH_REDIS_URL=url)
        self._model = model
        self._scratch = scratch

    def seconds(self, task: Task) -> float:
        """Run a task. Returns the seconds from its submission to its results in a file."""
        prompts, results = self._scratch / "prompts.jsonl", self._scratch / "results.jsonl"
        write_prompts(task, prompts)
        submit = command("submit", prompts, "--new", "--wait", "-o", results, "--quiet", "--model", self._model)
        started_at = time.perf_counter()
        subprocess.run(submit, check=True, env=self._environment, stdout=subprocess.DEVNULL)  # the job's id
        seconds = time.perf_counter() - started_at
        check_results(task, results)
        return seconds


@contextmanager
def running_service(options: argparse.Namespace) -> Iterator[Service]:
    """Start a server and a worker, and wait until the worker has loaded the model."""
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as server:
        settings = {
            "redis_url": server.url,
            "model": str(options.model),
            "threads": str(options.threads),
            "quantize": options.quantize,
            "prefix_caching": "false",
            "speculate": "false",
        }
        with WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(connect(server.url), "idle", timeout_seconds=START_SECONDS)
            yield Service(server.url, options.model, Path(name))


def main() -> None:
    """Run each task as a job, one after the other. The first task also runs once untimed, as with the peers."""
    parser = peer_parser(__doc__)
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    run = PeerRun.of_options(options)
    with running_service(options) as service:
        service.seconds(run.tasks[0])
        for task in run.tasks:
            run.record(task, service.seconds(task), our_version())


if __name__ == "__main__":
    main()
