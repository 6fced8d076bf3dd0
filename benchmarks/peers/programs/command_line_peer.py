"""qwen-batch as people use it: `qwen-batch run` on a file, through command line, queue, worker and store.

The time is the job's `wall_seconds`: from the first lease of a shard to the last written line. The time of a peer is
that of its `generate` call. Neither includes loading or compiling.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
from benchmarks.peers.series.version import our_version
from benchmarks.peers.tasks.task import Task
from benchmarks.peers.tasks.task_file import check_results, write_prompts
from jobs import tether

STATISTICS = (
    "prefill_seconds",
    "decode_seconds",
    "mean_batch_size",
    "kv_cache_usage_peak",
    "median_ttft_ms",
    "load_seconds",
    "compile_seconds",
)


def main() -> None:
    """Run each task as a separate job with a new worker."""
    parser = peer_parser(__doc__)
    parser.add_argument("--quantize", default="none")
    options = parser.parse_args()
    run = PeerRun.of_options(options)
    for task in run.tasks:
        with tempfile.TemporaryDirectory() as scratch:
            statistics = job_statistics(task, options, Path(scratch))
        kept = {name: statistics[name] for name in STATISTICS}
        peak = max(worker["peak_memory_bytes"] for worker in statistics["workers"])
        more = {"peak_memory_bytes": peak, **kept, **statistics["outcome"]}
        run.record(task, statistics["wall_seconds"], our_version(), **more)


def job_statistics(task: Task, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Run a task with `qwen-batch run`. Returns the job's statistics, with what `check_results` returns as `outcome`.

    Raises:
        SystemExit: A token is missing.
    """
    prompts, results, statistics = scratch / "prompts.jsonl", scratch / "results.jsonl", scratch / "stats.json"
    write_prompts(task, prompts)
    command = [sys.executable, "-m", "cli.main", "run", str(prompts), "-o", str(results), "--stats", str(statistics)]
    settings = ["--model", str(options.model), "--threads", str(options.threads), "--quantize", options.quantize]
    settings += ["--no-speculate", "--prefix-caching" if task.shares else "--no-prefix-caching"]
    command += [*settings, "--state-dir", str(scratch / "state"), "--quiet"]
    subprocess.run(tether.command(command, signal.SIGTERM), check=True)
    outcome = check_results(task, results)
    figures: dict[str, Any] = json.loads(statistics.read_text(encoding="utf-8"))
    return {**figures, "outcome": outcome}


if __name__ == "__main__":
    main()
