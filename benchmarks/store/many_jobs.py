"""Measure the commands `list` and `status` on a server with many jobs.

    python -m benchmarks.store.many_jobs [--jobs 10000] [--repeats 5]

Starts its own server and stores jobs of one line each, which wait for a worker. Prints the median and the maximum time
of each command, including the start of its process. The time of `--version` is the start alone.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.report.markdown import markdown_table
from benchmarks.store.million_lines import COMMAND_LINE
from jobs.records.job import NewJob, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.valkey import running_valkey


def store_jobs(store: JobStore, num_jobs: int) -> list[str]:
    """Store waiting jobs of one line. Returns their ids, the oldest first."""
    ids, oldest = [], time.time() - num_jobs
    for number in range(num_jobs):
        now = oldest + number  # an id contains its second
        spec = NewJob(new_job_id(now), "someone/stub", "native", SamplingSettings(), 1, 1, 1, f"{number}.jsonl", now)
        store.submissions.create(spec)
        store.submissions.add_shard(ShardRef(spec.id, 0), [Prompt(0, "line-0", text=f"Prompt {number}")])
        store.submissions.open(spec.id)
        ids.append(spec.id)
    return ids


def seconds_of(*command: str) -> float:
    """Return the seconds that one command of qwen-batch takes, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([*COMMAND_LINE, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_valkey(Path(folder)) as server:
        oldest = store_jobs(connect(server.url), options.jobs)[0]
        url = ("--redis-url", server.url)
        commands: list[tuple[str, ...]] = [
            ("--version",),
            ("list", *url),
            ("list", "--limit", str(options.jobs), *url),
            ("status", oldest, *url),
        ]
        rows = []
        for command in commands:
            times = [seconds_of(*command) for _ in range(options.repeats)]
            name = " ".join(word for word in command if word not in url)
            rows.append([f"`{name}`", f"{statistics.median(times):.2f} s", f"{max(times):.2f} s"])
    print(f"{options.jobs:,} jobs on the server:")
    print(markdown_table(["command", "median", "worst"], rows))


if __name__ == "__main__":
    main()
