"""Names of all keys in the results store. All names are readable in redis-cli.

All keys of one job share the hash tag `{job-id}`. A Redis Cluster therefore holds them on one node, and a script may
touch several of them. The keys below "Indexes" belong to no job, so separate commands change them. The order of
these commands makes a crash in between harmless (`jobs/stores/redis/index.py`).

| key | type | holds |
|---|---|---|
| `qwen-batch:{JOB}:meta` | hash | the spec, the state and every counter of lines and tokens |
| `qwen-batch:{JOB}:open` | sorted set | shards that need a worker, scored by index, plus 2^40 if they are quarantined |
| `qwen-batch:{JOB}:leases` | sorted set | shards that a worker holds, scored by expiry (ms, the server's clock) |
| `qwen-batch:{JOB}:shard:N` | hash | lines, token, holder, backup, attempts, failed lines, crash counts |
| `qwen-batch:{JOB}:input:N` | string | the shard's prompts: a JSON array, zstd |
| `qwen-batch:{JOB}:running:N` | hash | line index -> completion (JSON), until the shard is finished |
| `qwen-batch:{JOB}:results:N` | string | a finished shard's completions in input order: a JSON array, zstd |
| `qwen-batch:{JOB}:latency` | hash | histogram buckets and exact sums of TTFT, TPOT and E2EL |
| `qwen-batch:{JOB}:engine` | hash | engine seconds and batch sizes, and what each worker did |
| `qwen-batch:{JOB}:timeline` | stream | one-second samples of the last hour |
| `qwen-batch:{JOB}:history` | hash | span of time -> completed lines, failed lines, output tokens |

A shard that is in neither `open` nor `leases` is closed: it is finished, or was given up because it cannot run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "qwen-batch:"

# Version number of the data that processes exchange and store. Increase it when the previous version could misread data
# of this version, or the other way round. Examples are another layout of keys, another meaning of a field, or another
# hint. A new field with a default needs no increase.
WIRE_FORMAT = 4

# --- Indexes ---------------------------------------------------------------------------------------------------

FORMAT = PREFIX + "format"  # string: the number of `WIRE_FORMAT`; the first process to use the store sets it
JOBS = PREFIX + "jobs"  # sorted set: job id, scored by creation time in seconds
RUNS = PREFIX + "runs"  # hash: fingerprint of a `run` -> job id
WORKERS = PREFIX + "workers"  # sorted set: worker id, scored by its start in seconds
MODELS = PREFIX + "models"  # hash: served model -> model card (JSON)


def unfinished(model: str) -> str:
    """Return the key of the model's unfinished jobs: a sorted set, next to serve first.

    A score is minus 10^13 times the priority, plus the time of the latest lease in ms (0 before the first lease).
    """
    return f"{PREFIX}unfinished:{model}"


def notification(model: str) -> str:
    """Return the key of the model's latest notification: a stream of one entry, which names a job. It expires.

    The entry is the job to which a client gave shards to run most recently.
    """
    return f"{PREFIX}notification:{model}"


def submission(key: str) -> str:
    """Return the key of a submission: a string, the id of the job that was submitted with this submission key."""
    return f"{PREFIX}submission:{key}"


def worker(worker_id: str) -> str:
    """Return the key of a worker's report: a string (JSON), which expires when the worker stops reporting."""
    return f"{PREFIX}worker:{worker_id}"


# --- One job ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobKeys:
    """Names of one job's keys. The table above says what each holds."""

    job_id: str

    def _key(self, name: str) -> str:
        return f"{PREFIX}{{{self.job_id}}}:{name}"

    @property
    def meta(self) -> str:
        """Key of the hash of spec, state and counters."""
        return self._key("meta")

    @property
    def open(self) -> str:
        """Key of the sorted set of shards that need a worker."""
        return self._key("open")

    @property
    def leases(self) -> str:
        """Key of the sorted set of shards that a worker holds."""
        return self._key("leases")

    @property
    def latency(self) -> str:
        """Key of the hash of latency histograms and sums."""
        return self._key("latency")

    @property
    def engine(self) -> str:
        """Key of the hash of engine seconds and batch sizes."""
        return self._key("engine")

    @property
    def timeline(self) -> str:
        """Key of the stream of one-second samples."""
        return self._key("timeline")

    @property
    def history(self) -> str:
        """Key of the hash of what workers wrote in each span of time."""
        return self._key("history")

    def shard(self, index: int) -> str:
        """Return the key of a shard's hash."""
        return self._key(f"shard:{index}")

    def input(self, index: int) -> str:
        """Return the key of a shard's prompts."""
        return self._key(f"input:{index}")

    def running(self, index: int) -> str:
        """Return the key of an unfinished shard's completions."""
        return self._key(f"running:{index}")

    def results(self, index: int) -> str:
        """Return the key of a finished shard's completions."""
        return self._key(f"results:{index}")

    @property
    def pattern(self) -> str:
        """Pattern for SCAN that matches every key of the job."""
        return re.sub(r"([\\*?\[\]^])", r"\\\1", self._key("")) + "*"

    def of_shard(self, index: int) -> list[str]:
        """Return every key of one shard."""
        return [self.shard(index), self.input(index), self.running(index), self.results(index)]

    def shared(self) -> list[str]:
        """Return every key that belongs to no shard. `meta` is last, because a job exists as long as its `meta`."""
        return [self.open, self.leases, self.latency, self.engine, self.timeline, self.history, self.meta]
