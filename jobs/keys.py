"""Every key of the results store, in one place, readable in redis-cli.

All keys of one job share the hash tag `{job-id}`, so a Redis Cluster holds them on one node and a script may touch
several of them. The keys below "Indexes" name no job: they are changed by separate commands, in an order in which a
crash leaves something harmless (`jobs/stores/redis/index.py`).

| key | type | holds |
|---|---|---|
| `qwen-batch:{JOB}:meta` | hash | the spec, the state and every counter of lines and tokens |
| `qwen-batch:{JOB}:open` | sorted set | shards that need a worker, scored by index, plus 2^40 if they must run alone |
| `qwen-batch:{JOB}:leases` | sorted set | shards that a worker holds, scored by expiry (ms, the server's clock) |
| `qwen-batch:{JOB}:shard:N` | hash | lines, token, holder, second runner, attempts, failed lines, silent workers |
| `qwen-batch:{JOB}:input:N` | string | the shard's prompts: a JSON array, zstd |
| `qwen-batch:{JOB}:running:N` | hash | line index -> completion (JSON), until the shard is finished |
| `qwen-batch:{JOB}:results:N` | string | a finished shard's completions in input order: a JSON array, zstd |
| `qwen-batch:{JOB}:latency` | hash | histogram buckets and exact sums of TTFT, TPOT and E2EL |
| `qwen-batch:{JOB}:engine` | hash | engine seconds and batch sizes, and what each worker did |
| `qwen-batch:{JOB}:timeline` | stream | one-second samples of the last hour |

A shard that is in neither `open` nor `leases` is finished, or was given up because it cannot be run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "qwen-batch:"

# --- Indexes ---------------------------------------------------------------------------------------------------

FORMAT = PREFIX + "format"  # string: the number of `jobs/wire_format.py`, set by whoever comes first
JOBS = PREFIX + "jobs"  # sorted set: job id, scored by creation time in seconds
RUNS = PREFIX + "runs"  # hash: fingerprint of a `run` -> job id
WORKERS = PREFIX + "workers"  # sorted set: worker id, scored by its start in seconds
MODELS = PREFIX + "models"  # hash: served model -> model card (JSON)


def unfinished(model: str) -> str:
    """Sorted set of the model's jobs that have not ended, next in turn first.

    Scored by minus 10^13 times the priority, plus the time of the latest lease in ms (0 before the first).
    """
    return f"{PREFIX}unfinished:{model}"


def news(model: str) -> str:
    """Stream of one entry: the job of the model that was given shards to run last. Expires by itself."""
    return f"{PREFIX}news:{model}"


def submission(key: str) -> str:
    """Which job was submitted under this key."""
    return f"{PREFIX}submission:{key}"


def worker(worker_id: str) -> str:
    """A worker's report (JSON), which expires when the worker falls silent."""
    return f"{PREFIX}worker:{worker_id}"


# --- One job ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobKeys:
    """The names of one job's keys."""

    job_id: str

    def _key(self, name: str) -> str:
        return f"{PREFIX}{{{self.job_id}}}:{name}"

    @property
    def meta(self) -> str:
        return self._key("meta")

    @property
    def open(self) -> str:
        return self._key("open")

    @property
    def leases(self) -> str:
        return self._key("leases")

    @property
    def latency(self) -> str:
        return self._key("latency")

    @property
    def engine(self) -> str:
        return self._key("engine")

    @property
    def timeline(self) -> str:
        return self._key("timeline")

    def shard(self, index: int) -> str:
        return self._key(f"shard:{index}")

    def input(self, index: int) -> str:
        return self._key(f"input:{index}")

    def running(self, index: int) -> str:
        return self._key(f"running:{index}")

    def results(self, index: int) -> str:
        return self._key(f"results:{index}")

    @property
    def pattern(self) -> str:
        """Matches every key of the job, for SCAN."""
        return re.sub(r"([\\*?\[\]^])", r"\\\1", self._key("")) + "*"

    def of_shard(self, index: int) -> list[str]:
        """Every key of one shard."""
        return [self.shard(index), self.input(index), self.running(index), self.results(index)]

    def shared(self) -> list[str]:
        """Every key that is no shard's, `meta` last: while it is there, the job is."""
        return [self.open, self.leases, self.latency, self.engine, self.timeline, self.meta]
