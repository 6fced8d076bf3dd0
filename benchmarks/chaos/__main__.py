"""Run twenty jobs while processes and network fail.

Each line must have exactly one result, with the text of a run without failures.

    make chaos [MINUTES=10] [SEED=…]
    python -m benchmarks.chaos [--minutes 10] [--seed N] [--jobs 20] [--lines 200]

Starts its own server (append-only, every write synced) behind a relay, and real workers with a tiny random model. Until
the time is up, a failure happens every second or two (`benchmarks/chaos/troubles.py`). Then all failures are mended,
and the jobs must end. The seed decides the order of failures. Their exact times depend on the machine.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.chaos.client import ChaosClient
from benchmarks.chaos.fleet import ChaosFleet
from benchmarks.chaos.troubles import Troubles
from testing.environment.tcp_proxy import TcpProxy
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from testing.processes.cluster import Cluster
from testing.processes.valkey import running_valkey

SUBMIT_UNTIL = 0.8  # share of the time in which jobs are submitted: the last jobs see failures, too
END_SECONDS = 600.0  # limit for the rest of the jobs, once all failures are mended


def disturb(client: ChaosClient, troubles: Troubles, jobs: int, seconds: float, luck: random.Random) -> list[str]:
    """Submit jobs at even intervals while failures happen. Returns the jobs' ids."""
    started, submitted = time.monotonic(), list[str]()
    while (now := time.monotonic() - started) < seconds or len(submitted) < jobs:
        if len(submitted) < jobs and now >= len(submitted) * SUBMIT_UNTIL * seconds / jobs:
            submitted.append(client.submit())
        happened = troubles.next()
        print(f"{now:7.1f} s  {len(submitted):2} jobs  {happened}", flush=True)
        time.sleep(luck.uniform(0.5, 2.0))
    return submitted


def run(folder: Path, minutes: float, jobs: int, lines: int, luck: random.Random) -> tuple[Counter[str], list[str]]:
    """Run the test. Returns the number of each failure, and the faults found in the jobs."""
    with ExitStack() as running:
        server = running.enter_context(running_valkey(folder, appendonly=True))
        network = running.enter_context(TcpProxy(server.port))
        model = write_tiny_checkpoint(write_byte_level_tokenizer(folder / "model"), vocab_size=257)
        cluster = Cluster(server, "chaos", model, folder)
        cluster.settings |= {"lease_ttl_seconds": "3.0", "sweep_seconds": "0.5", "flush_seconds": "0.5"}
        cluster.settings["redis_url"] = server.url.replace(f":{server.port}/", f":{network.port}/")
        client = ChaosClient(cluster, lines)
        fleet = running.enter_context(ChaosFleet(cluster, luck))
        fleet.start()
        reference = client.texts(client.wait_until_ended([client.submit()], END_SECONDS)[0])
        print(f"the undisturbed run has {lines} lines; now the trouble begins", flush=True)
        troubles = Troubles(server, network, fleet, cluster.model, luck)
        job_ids = disturb(client, troubles, jobs, 60 * minutes, luck)
        troubles.mend()
        fleet.at_least(2)
        mended_at = time.monotonic()
        print(f"{client.lines_done(job_ids)} of {jobs * lines} lines are done at the last trouble", flush=True)
        client.wait_until_ended(job_ids, END_SECONDS)
        print(f"all jobs have ended {time.monotonic() - mended_at:.1f} s after the last trouble")
        wrong = [problem for job_id in job_ids for problem in client.problems(job_id, reference)]
        return troubles.happened, wrong + fleet.problems()


def main() -> None:
    """Run the program. Exits with 1 if a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--lines", type=int, default=200)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="qwen-batch-chaos-"))
    happened, wrong = run(folder, options.minutes, options.jobs, options.lines, random.Random(options.seed))
    print(", ".join(f"{name} {count}" for name, count in sorted(happened.items())))
    for problem in wrong:
        print(f"WRONG: {problem}")
    if wrong:
        print(f"seed {options.seed}; logs are in {folder}")
        sys.exit(1)
    print(f"{options.jobs} jobs of {options.lines} lines: each line once, each text as without trouble")


if __name__ == "__main__":
    main()
