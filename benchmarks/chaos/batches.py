"""Kill the processes of the HTTP service while batches run.

    python -m benchmarks.chaos.batches [--batches 20] [--lines 200] [--kills 50] [--seed N]

A private server and `qwen-batch serve` run here, with a worker without a model. OpenAI's client uploads files and
creates batches. Meanwhile the clerk, its imports and finishes, and the HTTP process are killed at random moments. At
the end, each batch must have ended once, with one job, whole files, and counts that are the numbers of their lines. A
status never goes back, and a count never falls. Exits with 1 if that is not so.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from openai import APIConnectionError, InternalServerError, OpenAI

from benchmarks.http_load.service import MODEL, ServiceUnderLoad, serving
from jobs.records.completion import Completion, ErrorCode, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.records.shard_stats import ShardStats
from jobs.stores.connect import connect
from jobs.stores.worker_facets import Leased
from testing.processes.valkey import running_valkey

VICTIMS = ("server.http_process", "server.clerk.main", "server.clerk.child")
ORDER = ("validating", "in_progress", "finalizing", "completed")
END_SECONDS = 120.0  # max time until all batches have ended after the last kill
FAILING = 7  # every line whose number this divides fails
STATS = ShardStats("stub", "cpu", "float32", "none", True, 0.0, 0.0)


class Watched:
    """A batch, and what its client has seen of it so far."""

    def __init__(self, batch_id: str, lines: int) -> None:
        self.id = batch_id
        self.lines = lines
        self.status = ORDER[0]
        self.done = 0
        self.problems: list[str] = []

    def see(self, batch: Any) -> None:  # noqa: ANN401 - the client's own class
        """Compare a batch with what was seen before."""
        counts = batch.request_counts
        done = counts.completed + counts.failed
        if batch.status not in ORDER or ORDER.index(batch.status) < ORDER.index(self.status):
            self.problems.append(f"{self.id} was {self.status} and is {batch.status}: {batch.errors}")
        if done < self.done:
            self.problems.append(f"{self.id} had {self.done} results and has {done}")
        self.status, self.done = batch.status, done


def file_of(lines: int) -> bytes:
    """Return an input file."""
    said = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    common = {"method": "POST", "url": "/v1/chat/completions", "body": said}
    return "".join(json.dumps({"custom_id": f"r{number}"} | common) + "\n" for number in range(lines)).encode()


@contextmanager
def stub_worker(redis_url: str) -> Iterator[None]:
    """For the block, a thread answers the lines of all jobs."""
    store, stopped = connect(redis_url), threading.Event()

    def work() -> None:
        while not stopped.is_set():
            found = store.work.lease_next(MODEL, "stub", 60)
            if not isinstance(found, Leased):
                stopped.wait(0.05)
                continue
            store.work.write(found.lease, [_result(prompt) for prompt in store.work.pending(found.lease)])
            store.work.finish_shard(found.lease, STATS)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        stopped.set()
        worker.join()


def _result(prompt: Prompt) -> Completion:
    if prompt.index % FAILING == 0:
        return Completion.failed(prompt.index, prompt.id, ErrorCode.PROMPT_TOO_LONG, "too long", prompt.endpoint)
    return Completion(prompt.index, prompt.id, "text", FinishReason.STOP, Usage(10, 3), endpoint=prompt.endpoint)


def kill_one(service: ServiceUnderLoad, luck: random.Random) -> str | None:
    """Kill one process of the service, and return its module, or None if the chosen one does not run now."""
    wanted = luck.choice(VICTIMS)
    for process in service.parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if wanted in process.cmdline():
                process.kill()
                return wanted
    return None


class Turmoil:
    """Creates batches, kills processes, and watches.

    Args:
        service: The service.
        lines: Lines of each batch.
        luck: Chooses moments and victims.
    """

    def __init__(self, service: ServiceUnderLoad, lines: int, luck: random.Random) -> None:
        self._service = service
        self._lines = lines
        self._luck = luck
        address = f"http://127.0.0.1:{service.port}/v1"
        self._client = OpenAI(base_url=address, api_key="none", max_retries=10, timeout=10)
        self.batches: list[Watched] = []
        self.killed: Counter[str] = Counter()

    def run(self, batches: int, kills: int) -> None:
        """Create so many batches while so many processes are killed. Returns when all batches have ended."""
        maker = threading.Thread(target=self._create, args=(batches,))
        maker.start()
        while self.killed.total() < kills or maker.is_alive():
            time.sleep(self._luck.uniform(0.05, 0.4))
            if self.killed.total() < kills and (victim := kill_one(self._service, self._luck)) is not None:
                self.killed[victim] += 1
                if len(self.batches) >= batches and all(batch.status == ORDER[-1] for batch in self.batches):
                    self._create(1)  # later kills must meet work, too
            self._look()
        maker.join()
        deadline = time.monotonic() + END_SECONDS
        while not all(batch.status == ORDER[-1] for batch in self.batches) and time.monotonic() < deadline:
            self._look()

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the batches after their end."""
        jobs = Counter(job.spec.batch for job in self._service.store.jobs.newest(10_000))
        for batch in self.batches:
            yield from batch.problems
            if jobs[batch.id] != 1:
                yield f"{batch.id} has {jobs[batch.id]} jobs"
            yield from self._problems_of_files(batch)

    def _create(self, number: int) -> None:
        for _ in range(number):
            file = self._client.files.create(file=("in.jsonl", file_of(self._lines)), purpose="batch")
            batch = self._client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            self.batches.append(Watched(batch.id, self._lines))

    def _look(self) -> None:
        for batch in list(self.batches):
            if batch.status != ORDER[-1]:
                with suppress(APIConnectionError, InternalServerError):
                    batch.see(self._client.batches.retrieve(batch.id))

    def _problems_of_files(self, batch: Watched) -> Iterator[str]:
        found = self._client.batches.retrieve(batch.id)
        failed = [f"r{number}" for number in range(batch.lines) if number % FAILING == 0]
        completed = [f"r{number}" for number in range(batch.lines) if number % FAILING]
        for file_id, expected in ((found.output_file_id, completed), (found.error_file_id, failed)):
            text = "" if file_id is None else self._client.files.content(file_id).text
            if [json.loads(line)["custom_id"] for line in text.splitlines()] != expected:
                yield f"{batch.id} is {found.status}; its file {file_id} has not the {len(expected)} lines expected"
        counts: Any = found.request_counts
        if (counts.completed, counts.failed, counts.total) != (len(completed), len(failed), batch.lines):
            yield f"{batch.id} counts {counts}"


def main() -> None:
    """Start everything, kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    said = parser.parse_args()
    print(f"seed {said.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        running_valkey(Path(name)) as valkey,
        serving(valkey, Path(name)) as service,
        stub_worker(valkey.url),
    ):
        turmoil = Turmoil(service, said.lines, random.Random(said.seed))
        turmoil.run(said.batches, said.kills)
        problems = list(turmoil.problems())
    print("killed: " + ", ".join(f"{victim} {count}" for victim, count in sorted(turmoil.killed.items())))
    for problem in problems:
        print(f"WRONG: {problem}")
    print(f"{len(turmoil.batches)} batches of {said.lines} lines; {len(problems)} faults")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
