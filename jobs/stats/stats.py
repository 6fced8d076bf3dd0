"""The one definition of every throughput figure (docs/results-format.md has the table)."""

from __future__ import annotations

import msgspec

from jobs.records.job import JobState


class WorkerShare(msgspec.Struct, frozen=True):
    """What one worker did for a job, over the shards that it finished."""

    worker_id: str
    device: str
    dtype: str
    quantize: str
    compiled: bool
    output_tokens: int
    peak_memory_bytes: int  # the highest it reported
    load_seconds: float
    compile_seconds: float


class JobStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a job so far, made from counters that move in the same step as the lines they count.

    Lines: `completed` have a completion, `failed` an error; both together are the lines that have a result. Tokens are
    those of completed lines alone.

    Time: every moment is one of the store's clock, so clocks of different machines are never compared.

    - The first step is the job's first lease: a worker had the shard in its hands.
    - `duration_seconds` is the time in which at least one worker held a lease on a shard of the job. Leases that are
      held at the same time count once. A lease that its worker did not renew counts up to its expiry. The time stops at
      the last line that a worker wrote: errors that the store itself wrote do not prolong it.
    - `wall_seconds` runs from the first step to that last line. Time in which no worker held a lease is part of it: the
      night between an interrupted `run` and the next one, say, or the pause before a `retry`.
    - `queue_seconds` runs from the moment at which `submit` had stored the job whole to the first step.

    Reused lines count as completed, with their tokens, but in no rate and no latency: nothing was computed for them.

    Rates: an amount divided by `duration_seconds`; never a sum or a mean of the rates of workers. They are None until
    a line is written.

    Latencies: of each completed line from its arrival at the engine: to its first token (ttft), per token after the
    first (tpot; lines of one token have none), to its last token (e2el). Means are exact to a microsecond; a
    quantile q is the value at rank floor(q * (lines - 1)), from a histogram, within 1%. None until there is a line.

    Engine figures: sums over the shards that were finished; what a lost worker did for a shard is not known.

    - `mean_batch_size` is the number of sequences in an average decode step, of this job or not.
    - `cache_short_` figures are of decode steps in which sequences waited for room in the KV cache, though the batch
      had places for them. `kv_cache_bytes_wanted` is an estimate from the pages of those that ran.
    - `retried_shards` counts shards that had more than one lease since the job was opened or last retried: their
      worker was lost or stopped. Lines that were finished before were not run again.
    - `load_seconds` and `compile_seconds` are the longest of the workers that took part, and part of no rate.
    """

    id: str
    state: JobState
    cancel_requested: bool
    paused: bool
    model: str
    source: str
    created_at: float  # seconds since the epoch
    deadline_at: float | None  # the same, by the store's clock
    priority: int
    error: str | None
    total: int  # lines
    completed: int
    failed: int
    reused: int  # of the completed lines: their completion was an earlier job's
    total_input_tokens: int  # over completed lines
    total_output_tokens: int
    duration_seconds: float | None  # in which at least one worker held a shard, up to the last line written
    wall_seconds: float | None  # first step to last line written, also the time in which nothing ran
    output_throughput: float | None  # tokens a second of `duration_seconds`; never a sum of worker rates
    total_token_throughput: float | None
    request_throughput: float | None
    queue_seconds: float | None  # submit to first step
    mean_ttft_ms: float | None
    median_ttft_ms: float | None
    p99_ttft_ms: float | None
    mean_tpot_ms: float | None
    median_tpot_ms: float | None
    p99_tpot_ms: float | None
    mean_e2el_ms: float | None
    median_e2el_ms: float | None
    p99_e2el_ms: float | None
    prefill_seconds: float  # engine time, summed over workers
    decode_seconds: float
    mean_batch_size: float | None  # sequences a decode step
    kv_cache_usage_peak: float | None  # 0 to 1
    cache_short_share: float | None  # of the decode steps, 0 to 1
    cache_short_running: float | None  # sequences that ran in such a step, on average; None without such a step
    cache_short_waiting: float | None  # sequences that waited for room in the cache, on average
    kv_cache_bytes_wanted: int | None  # a cache that would have held all of them, at most
    finish_reasons: dict[str, int]
    retried_shards: int
    workers: tuple[WorkerShare, ...]
    load_seconds: float  # the longest of the workers that took part
    compile_seconds: float
