"""Definitions of all statistics of a job. docs/results-format.md has the table for users."""

from __future__ import annotations

import msgspec

from jobs.records.job import JobState


class WorkerShare(msgspec.Struct, frozen=True, kw_only=True):
    """The work for a job of one worker that has finished a shard."""

    worker_id: str
    device: str
    dtype: str
    quantize: str
    compiled: bool
    output_tokens: int = 0  # of all lines that it wrote
    peak_memory_bytes: int  # maximum over the shards that it finished
    load_seconds: float
    compile_seconds: float


class JobStats(msgspec.Struct, frozen=True, kw_only=True):
    """A job's statistics so far. They come from counters that change in the same atomic step as the lines.

    Lines: `completed` lines have a completion, `failed` lines have an error. Their sum is the number of lines with a
    result. Tokens are counted over completed lines only.

    Time: all times come from the store's clock, so clocks of different machines are never compared.

    - The first step is the job's first lease.
    - `duration_seconds` is the time in which at least one worker held a lease on a shard of the job. Simultaneous
      leases count once. A lease that its worker did not renew counts up to its expiry. The time ends at the last line
      that a worker wrote; errors that the store wrote do not prolong it.
    - `wall_seconds` is the time from the first step to that last line. It includes time in which no worker held a
      lease. Examples are the night between an interrupted `run` and the next one, or the pause before a `retry`.
    - `queue_seconds` is the time from the moment at which `submit` had stored the whole job to the first step.

    Reused lines and their tokens count as completed. They count in no rate and no latency, because no worker computed
    them.

    Rates: each rate is an amount divided by `duration_seconds`. It is never a sum or mean of the workers' rates. A rate
    is None until a line is written.

    Latencies: they are measured from a completed line's arrival at the engine. `ttft` is the time to the first token,
    `e2el` the time to the last token. `tpot` is the mean time per token after the first; lines of one token have none.
    Means are exact to a microsecond. A quantile q is the least latency that a share q of the lines does not exceed,
    within 1%, from a histogram. A latency is None until there is a line.

    Engine figures: they are sums over the finished shards. The work of a lost worker is unknown.

    - `mean_batch_size` is the mean number of sequences per decode step, including sequences of other jobs.
    - `cached_tokens` is the number of prompt tokens that a worker took from its prefix cache instead of computing them.
    - `draft_acceptance` is the share of the guessed tokens that were right (`--speculate`).
    - `cache_short_` figures describe decode steps in which sequences waited only for room in the KV cache: the batch
      had places for them. `kv_cache_bytes_wanted` is an estimate from the pages of running sequences.
    - `retried_shards` counts shards that were leased more than once since the job was opened or last retried. A worker
      of such a shard was lost or stopped. Its finished lines did not run again.
    - `load_seconds` and `compile_seconds` are the maximum over the job's workers. They are part of no rate.
    """

    id: str
    state: JobState
    cancel_requested: bool
    paused: bool
    model: str
    source: str
    created_at: float  # seconds since the epoch
    deadline_at: float | None  # seconds since the epoch, by the store's clock
    priority: int
    error: str | None
    total: int  # number of lines
    completed: int
    failed: int
    reused: int  # completed lines whose completion came from an earlier job
    total_input_tokens: int  # sum over completed lines
    total_output_tokens: int
    duration_seconds: float | None  # time in which at least one worker held a shard, up to the last line written
    wall_seconds: float | None  # time from the first step to the last line written, including idle time
    output_throughput: float | None  # tokens per second of `duration_seconds`
    total_token_throughput: float | None
    request_throughput: float | None
    queue_seconds: float | None  # time from `submit` to the first step
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
    mean_batch_size: float | None  # sequences per decode step
    kv_cache_usage_peak: float | None  # 0 to 1
    cache_short_share: float | None  # share of decode steps with a cache that was too small, 0 to 1
    cache_short_running: float | None  # mean number of running sequences in such a step; None without such a step
    cache_short_waiting: float | None  # mean number of sequences that waited for room in such a step
    cached_tokens: int  # prompt tokens that were in a worker's prefix cache
    draft_acceptance: float | None  # share of guessed tokens that were right, 0 to 1; None if none was guessed
    kv_cache_bytes_wanted: int | None  # maximum of the cache size that holds all of these sequences
    reasoning_tokens: int  # tokens of thoughts, part of `total_output_tokens`
    malformed_tool_calls: int  # tool calls that are not whole; they are in the text
    cut_structured_outputs: int  # completions that reached `max_tokens` before their constraint let them end
    quantized_lines: int  # completed lines whose worker had weights of 8 or 4 bits, including reused ones
    finish_reasons: dict[str, int]  # finish reason -> number of lines
    error_codes: dict[str, int]  # error code -> number of failed lines; lines that an older version wrote are missing
    retried_shards: int
    workers: tuple[WorkerShare, ...]
    load_seconds: float  # maximum over the workers
    compile_seconds: float
