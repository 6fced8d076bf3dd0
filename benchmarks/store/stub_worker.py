"""A worker without a model. Several threads take shards, as in a worker, and answer every line with 60 words.

python -m benchmarks.store.stub_worker REDIS_URL JOB
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.store.throughput import text
from jobs.records.completion import Completion, Latency, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason
from jobs.records.shard_stats import ShardStats
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from jobs.stores.worker_facets import Leased
from worker.shards.outbox import FLUSH_LINES

THREADS = 4
ANSWERS = 4096  # number of different answers, made once, because the time to invent answers is not measured


def main() -> None:
    """Work until no shard of the job's model waits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("redis_url")
    parser.add_argument("job")
    options = parser.parse_args()
    luck = random.Random(1)
    answers = [text(luck, 60) for _ in range(ANSWERS)]
    store = connect(options.redis_url)
    model = store.jobs.get(options.job).spec.model
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(_work, store, model, answers) for _ in range(THREADS)]:
            done.result()


def _work(store: JobStore, model: str, answers: Sequence[str]) -> None:
    stats = ShardStats("stub", "cpu", "float32", "none", True, 0.0, 0.0)
    while isinstance(found := store.work.lease_next(model, "stub", 60), Leased):
        lease = found.lease
        completions = [_completion(prompt, answers[prompt.index % ANSWERS]) for prompt in store.work.pending(lease)]
        for start in range(0, len(completions), FLUSH_LINES):
            store.work.write(lease, completions[start : start + FLUSH_LINES])
        store.work.finish_shard(lease, stats)


def _completion(prompt: Prompt, answer: str) -> Completion:
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text=answer,
        finish_reason=FinishReason.STOP,
        usage=Usage(25, 70),
        finished_at=time.time(),
        latency=Latency(ttft_ms=20.0, tpot_ms=6.0, e2el_ms=440.0),
    )


if __name__ == "__main__":
    main()
