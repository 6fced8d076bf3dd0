"""Measure the seconds from a worker's start to its first token, at its very first start and at later ones.

    python -m benchmarks.latency.first_token --model FOLDER [--repeats 3] [--quantize int8]

A job of one line waits in a private server while the worker starts. At the first start nothing is built or compiled
yet. At later starts the checkpoint is in the system's file cache, if memory suffices.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report.markdown import markdown_table
from engine.execution.compilation import CACHE_VARIABLE
from jobs.queue.celery_hints import CeleryHints
from jobs.records.job import NewJob, ShardRef
from jobs.records.job_id import new_job_id
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from jobs.records.served_name import served_name
from jobs.stores.connect import connect
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

POLL_SECONDS = 0.01
LIMIT_SECONDS = 600.0


def seconds_to_first_token(options: argparse.Namespace, cache: Path, scratch: Path) -> float:
    """Start a worker whose build caches are in `cache`. Return the seconds until its first token."""
    with running_valkey(scratch) as server:
        store, name = connect(server.url), served_name(str(options.model))
        spec = NewJob(new_job_id(time.time()), name, "native", SamplingSettings(), 1, 1, 1, "bench", time.time())
        store.submissions.create(spec)
        line = SamplingSettings(max_tokens=1, temperature=0, ignore_eos=True)
        store.submissions.add_shard(ShardRef(spec.id, 0), [Prompt(0, "line", text="What is a worker?", settings=line)])
        CeleryHints(server.url).send(name, store.submissions.open(spec.id))
        settings = {"redis_url": server.url, "model": str(options.model), "quantize": options.quantize}
        own_cache = ("env", "-u", CACHE_VARIABLE, f"XDG_CACHE_HOME={cache}")
        started_at = time.time()
        with WorkerUnderTest(settings, scratch / "worker.log", prefix=own_cache) as worker:
            while not (job := store.jobs.get(spec.id)).state.ended:
                if worker.has_ended or time.time() - started_at > LIMIT_SECONDS:
                    raise SystemExit(worker.log)
                time.sleep(POLL_SECONDS)
        assert job.completed == 1, job
        return next(iter(store.jobs.results(spec.id))).finished_at - started_at


def main() -> None:
    """Start workers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3, help="of the second kind of start (default: 3)")
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = []
        for number in range(options.repeats + 1):
            scratch = Path(name) / f"start-{number}"
            scratch.mkdir()
            found.append(seconds_to_first_token(options, Path(name) / "cache", scratch))
    first, again = found[0], found[1:]
    rows = [
        ["nothing built", f"{first:.1f} s", ""],
        ["again", f"{statistics.median(again):.1f} s", f"{max(again):.1f} s"],
    ]
    print(markdown_table(["start", "first token after", "at most"], rows))


if __name__ == "__main__":
    main()
